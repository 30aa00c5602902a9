"""Schema history of endpoints."""
