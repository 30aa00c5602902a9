"""People and their access: users, service principals, groups, one-time sign-in links, access tokens. Knows nothing of endpoints or secrets."""
