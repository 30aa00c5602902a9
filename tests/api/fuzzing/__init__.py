"""The API with generated requests."""
