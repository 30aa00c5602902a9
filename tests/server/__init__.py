"""The HTTP server as clients see it."""
