"""Tests of the whole product with real processes: server, worker, beat and gateways."""
