"""Tests of the bootstrap, which creates the virtual environment of a clone."""
