"""One module per command: it reads arguments, calls one function and prints."""
