"""Numbers the changes that gateways must follow, and records which gateway process serves which number."""
