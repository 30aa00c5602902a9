"""Real servers and other things that several test folders share."""
