"""The page at /docs/api: every operation with its fields and programs, made from what is said at the views."""
