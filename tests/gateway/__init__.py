"""The data plane, driven over real sockets."""
