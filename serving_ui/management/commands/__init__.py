"""One module a command; each reads arguments, calls one domain function and prints."""
