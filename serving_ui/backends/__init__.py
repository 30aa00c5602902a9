"""What makes a config real. Speaks to vendors with requests; knows no Django, no rows and no pages."""
