"""The tests, mirrored to the rooms of the house."""
