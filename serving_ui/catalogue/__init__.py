"""The vocabulary: providers, tasks, endpoint configs, and the requests that providers understand.

Pure and pydantic only: no Django, Celery, HTTP client, clock, file or environment. Everything above derives from it: the
create form, API validation, redaction, the credential check and the gateway.
"""
