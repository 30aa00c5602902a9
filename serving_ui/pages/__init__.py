"""The HTML face: views, forms, presenters. Translates requests into domain calls and answers into pages; decides nothing."""
