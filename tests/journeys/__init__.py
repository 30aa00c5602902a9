"""Journeys through the whole product, each part of it a process of its own."""
