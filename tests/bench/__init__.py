"""Measurements. Run by hand; nothing here is a test."""
