"""What runs before the virtual environment exists: imports nothing but Python's standard library."""
