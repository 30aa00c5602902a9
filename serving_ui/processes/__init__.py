"""Runs the processes of the product: starts, watches and ends them. Imports no Django."""
