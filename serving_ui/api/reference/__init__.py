"""The page at /docs/api: every operation with its fields and code samples, made from the descriptions in the views."""
