"""Dagster's own tests of storages, run against the storages of `dagster.yaml`."""
