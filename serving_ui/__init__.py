"""Serving UI: a self-hosted page for model-serving endpoints, with the engine behind it."""
