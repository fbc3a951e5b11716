"""`python -m coinbase_assets_tests.dagster_instance.echo_run RUN_ID`: a run that logs its input.

It goes on until its input ends. Its instance is that of DAGSTER_HOME.
"""

import sys

import dagster as dg

from coinbase_assets.dagster_instance.deployment import SILENT


@dg.op
def echo(context: dg.OpExecutionContext) -> None:
    """Log each line of the standard input when it comes."""
    for line in sys.stdin:
        context.log.warning(line.strip())


@dg.job
def echo_job() -> None:
    echo()


if __name__ == "__main__":
    with dg.DagsterInstance.get() as opened:
        echo_job.execute_in_process(instance=opened, run_id=sys.argv[1], run_config=SILENT)
