"""Secrets: scopes and keys, rights on them, encrypted values, drafts. Knows nothing of endpoints; no page ever shows a value."""
