"""Tests of the pages with a real browser, against the real product with all its processes.

Playwright's event loop runs in the thread of these tests, where Django refuses to use the database: they click, or send HTTP requests.
"""
