"""Heartbeats, restarts and replacements of processes."""
