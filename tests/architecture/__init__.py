"""What holds the house together: floors, sizes, names, policies, locks. One test a rule."""
