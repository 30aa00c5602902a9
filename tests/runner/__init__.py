"""The test runner (`manage.py test`) and the Debian packages that it needs."""
