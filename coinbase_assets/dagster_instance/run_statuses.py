"""Statuses of runs, in groups that Dagster keeps private."""

import dagster as dg

FINISHED = [
    dg.DagsterRunStatus.SUCCESS,
    dg.DagsterRunStatus.FAILURE,
    dg.DagsterRunStatus.CANCELED,
]
UNFINISHED = [status for status in dg.DagsterRunStatus if status not in FINISHED]
