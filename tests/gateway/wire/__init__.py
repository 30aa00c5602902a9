"""Recorded requests and replies of the vendors, through a running gateway."""
