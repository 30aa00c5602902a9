"""The vendors' recorded exchanges, through pure functions."""
