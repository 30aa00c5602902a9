"""The way from nothing to a running product: the environment, the checks and the processes.

It joins the floors like the other entries and decides nothing about endpoints.
"""
