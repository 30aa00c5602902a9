"""Usage: one row for each request, and sums by minute and in total."""
