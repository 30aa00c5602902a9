"""The REST API: that of Databricks Model Serving, for unmodified clients. Translates to and from the domain's commands and queries."""
