"""Tests of the pages with Django's test client, on parsed HTML."""
