"""Views: read the request, call the domain once, answer with a page."""
