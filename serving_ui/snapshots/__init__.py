"""What gateways serve: snapshots built from the rows, kept up to date, and cached on disk."""
