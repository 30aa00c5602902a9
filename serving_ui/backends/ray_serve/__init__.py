"""The backend that runs own models on a Ray cluster, by the REST API of Ray Serve."""
