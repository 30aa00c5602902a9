"""The documentation: in the product, in the repository, and whether what it says works."""
