"""The tests, in one folder for each package of `serving_ui`."""
