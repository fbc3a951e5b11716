"""Dagster's private names, which any release of Dagster may change or remove.

Each is imported only here, or in another file private_*_names.py if it loads more than
`import dagster` does. A comment says why no public name suffices. See
docs/decisions/2026-11-27-private-names.md.
"""

from typing import TYPE_CHECKING

from coinbase_assets.dagster_instance.supported_dagster import require, requiring_tested_dagster

if TYPE_CHECKING:
    # Types of values that public functions take or return; the types themselves are private.
    from dagster._core.definitions.assets.graph.asset_graph_subset import (
        AssetGraphSubset as AssetGraphSubset,
    )
    from dagster._core.definitions.unresolved_asset_job_definition import (
        UnresolvedAssetJobDefinition as UnresolvedAssetJobDefinition,
    )
    from dagster._core.execution.backfill import PartitionBackfill as PartitionBackfill
    from dagster._core.execution.context.system import (
        PlanOrchestrationContext as PlanOrchestrationContext,
    )
    from dagster._core.execution.plan.objects import StepFailureData as StepFailureData
    from dagster._core.execution.plan.plan import ExecutionPlan as ExecutionPlan
    from dagster._core.storage.asset_check_execution_record import (
        AssetCheckExecutionRecord as AssetCheckExecutionRecord,
    )
    from dagster._utils.error import SerializableErrorInfo as SerializableErrorInfo

with requiring_tested_dagster():
    # The state of an asset's freshness: the public API has policies, but not their outcome.
    from dagster._core.definitions.freshness import FreshnessState as FreshnessState

    # Marks events that are stored in one transaction: OutputContext.log_event takes no batch.
    from dagster._core.events import DagsterEventBatchMetadata as DagsterEventBatchMetadata

    # Why a run failed: the public API has the run's tag, but not the values.
    from dagster._core.events import RunFailureReason as RunFailureReason

    # Filters of back-fills: the public API has no query for back-fills.
    from dagster._core.execution.backfill import BulkActionsFilter as BulkActionsFilter
    from dagster._core.execution.backfill import BulkActionStatus

    # Modes of retries, an argument of the executor: dg.RetryPolicy is a policy of steps.
    from dagster._core.execution.retries import RetryMode

    # Whether Dagster should retry a run: the public API has only the tags it decides by.
    from dagster._core.execution.retries import (
        auto_reexecution_should_retry_run as auto_reexecution_should_retry_run,
    )

    # The class of the executor: dg.in_process_executor is a definition without a method to extend.
    from dagster._core.executor.in_process import InProcessExecutor as InProcessExecutor

    # An instance with some settings overridden: DagsterInstance.get() takes no overrides.
    from dagster._core.instance.ref import InstanceRef as InstanceRef

    # Statuses of check results: dg.AssetCheckResult says `passed`, but records have a status.
    from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecordStatus

    # The state of a StateBackedComponent before its refresh: the public API only replaces it.
    from dagster._core.storage.defs_state.base import DefsStateStorage as DefsStateStorage

    # The argument that Dagster passes to each storage of dagster.yaml: it has no public name.
    from dagster._serdes import ConfigurableClassData as ConfigurableClassData

    CHECK_FAILED = AssetCheckExecutionRecordStatus.FAILED
    EVALUATED_CHECKS = {AssetCheckExecutionRecordStatus.SUCCEEDED, CHECK_FAILED}
    SUCCESSFUL_BACKFILLS = [BulkActionStatus.COMPLETED, BulkActionStatus.COMPLETED_SUCCESS]
    UNFINISHED_BACKFILLS = [
        BulkActionStatus.REQUESTED,
        BulkActionStatus.CANCELING,
        BulkActionStatus.FAILING,
    ]
    ENDED_BACKFILLS = [
        *SUCCESSFUL_BACKFILLS,
        BulkActionStatus.COMPLETED_FAILED,
        BulkActionStatus.FAILED,
        BulkActionStatus.CANCELED,
    ]
    NOT_FRESH = (FreshnessState.WARN, FreshnessState.FAIL)
    RETRIES_ENABLED = RetryMode.ENABLED
    require(InProcessExecutor, "execute")
