"""Checks credentials at providers, with `requests`. Imports no Django."""
