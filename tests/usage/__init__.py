"""What gateways recorded, in the database: exactly once, added up, and kept as long as it should be."""
