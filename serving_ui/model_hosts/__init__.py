"""Model hosts: servers and accounts whose models are discovered, each of which becomes the endpoint of a foundation model."""
