"""Private names of Dagster that load its web server's part. See private_names.py."""

from coinbase_assets.dagster_instance.supported_dagster import requiring_tested_dagster

with requiring_tested_dagster():
    # What a web server serves: its class takes them, and only its command line makes them.
    from dagster._core.workspace.context import WorkspaceProcessContext as WorkspaceProcessContext
    from dagster._core.workspace.load_target import WorkspaceFileTarget as WorkspaceFileTarget
