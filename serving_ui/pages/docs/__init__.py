"""The documentation: Markdown files under templates/docs, as pages with anchors and a search."""
