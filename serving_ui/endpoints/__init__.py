"""The domain: endpoints, their life, their config versions, who may do what. Faces call its commands and queries."""
