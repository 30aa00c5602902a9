"""Secrets: scopes and keys, encrypted values, drafts. Knows nothing of endpoints; never shows a value to a face."""
