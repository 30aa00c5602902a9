"""People and their access: users, one-time sign-in links, access tokens. Knows nothing of endpoints or secrets."""
