"""Providers, tasks, endpoint configs, and the translation of requests and responses for each provider.

Depends on pydantic only: no Django, Celery, HTTP client, clock, file or environment. The create form, API validation, redaction, the
credential check and the gateway are derived from it.
"""
