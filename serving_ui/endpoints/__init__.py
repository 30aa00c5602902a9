"""The domain: endpoints, their states, their config versions, and who may do what. Pages, API and tasks call its commands and queries."""
