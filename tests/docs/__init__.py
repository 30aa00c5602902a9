"""The documentation: pages in the product and Markdown files of the repository."""
