"""What runs inside Ray: the replicas of own models. Imports neither Django nor the rest of this project but `local_model.llama_cpp` and
`gateway.redaction`.

On a cluster the package is installed as a wheel without its dependencies; on this machine it is found by PYTHONPATH.
"""
