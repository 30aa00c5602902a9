"""Usage records of gateways in the database: ingested exactly once, aggregated, and deleted after the retention."""
