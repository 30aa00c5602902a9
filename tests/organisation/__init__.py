"""The product as an organisation runs it: on PostgreSQL and Redis, with more than one gateway."""
