"""From a bare clone to the virtual environment."""
