"""My models: the models that endpoints with models of one's own can serve, registered here or in an MLflow model registry."""
