"""One file for each provider: its config fields, tasks, suggested models, credential check and wire format."""
