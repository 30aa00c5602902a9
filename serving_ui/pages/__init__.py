"""The HTML pages: views, forms and presenters. They call the commands and queries of the domain and contain none of its rules."""
