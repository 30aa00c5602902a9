"""The REST face: the serving API of Databricks, for unmodified clients. Translates to and from the domain's commands and queries."""
