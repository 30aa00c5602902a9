"""The built-in upstream that speaks the OpenAI wire with canned replies. Knows nothing of the rest of the product."""
