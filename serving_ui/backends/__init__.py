"""Backends: what deploys a config. Calls providers with `requests`; imports no Django."""
