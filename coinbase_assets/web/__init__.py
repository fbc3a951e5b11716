"""Dagster's web UI, for the person at this machine alone."""
