"""Turns the exchange's answers into raw days in the lake; finds listing dates."""
