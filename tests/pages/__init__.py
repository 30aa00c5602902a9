"""Client tests of the pages, on parsed HTML."""
