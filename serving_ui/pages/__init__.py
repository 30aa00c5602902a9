"""The HTML face: views, forms, presenters. Converts requests into calls of the domain and results into pages; contains no rules of the domain."""
