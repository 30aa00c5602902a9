"""Translation to and from the vendors' wire formats, with recorded exchanges."""
