"""A built-in model server with the OpenAI API and canned responses. It imports only `lib`."""
