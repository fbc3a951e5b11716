"""Requests to the exchange, their answers, budget and errors. Only `resource` imports Dagster."""
