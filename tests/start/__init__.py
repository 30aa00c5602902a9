"""The start: environment, data folder, port, supervisor, and the whole with `manage.py up`."""
