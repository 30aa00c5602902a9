"""Answers queries to endpoints. Pure ASGI; knows no Django, no Celery and no database."""
