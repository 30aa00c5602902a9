"""Servers, programs, parsers and recorded data that several test folders share."""
