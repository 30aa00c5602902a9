"""Rules of the code base, each with a test: import layers, sizes, names, policies, locks."""
