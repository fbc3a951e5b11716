"""Private names of Dagster that load its daemon. See private_names.py."""

from coinbase_assets.dagster_instance.supported_dagster import requiring_tested_dagster

with requiring_tested_dagster():
    # Its module has the interval at which the daemon looks at back-fills; no setting does.
    from dagster._daemon import controller as controller

    # The public command `dagster-daemon` may be missing from PATH.
    from dagster._daemon.cli import main as main
