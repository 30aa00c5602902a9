"""The REST API described: a table of its operations, the OpenAPI document made of it, and the page that people read."""
