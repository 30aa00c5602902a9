"""The OpenAPI 3.1 documents: of the whole API, and of one endpoint."""
