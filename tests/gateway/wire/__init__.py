"""The vendors' recorded exchanges, through a running gateway."""
