"""Asking the exchange: requests, answers, budget, errors. Only `resource` knows Dagster."""
