"""Journeys through the pages with a real browser, against the real product with all its processes.

Playwright's event loop runs in the thread of these tests, so none of them touches Django's rows: they click, or speak HTTP.
"""
