"""Measurements, which are run by hand. None is a test."""
