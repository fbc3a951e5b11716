"""The state of the lake as Prometheus metrics. Pure: no I/O.

The names are an interface: dashboards and alert rules use them.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from coinbase_assets.completeness.ledger import State
from coinbase_assets.lake.status import SeriesStatus
from coinbase_assets.monitoring.incidents import Incident
from coinbase_assets.monitoring.kinds import Kind

# The states that leave a question open. `unprovable` is left out: nothing can settle it.
OPEN_STATES = (State.UNCONFIRMED, State.NOT_COLLECTED, State.OPEN, State.PENDING)


@dataclass(frozen=True)
class Facts:
    """What was read at `read_at`: of the lake, the incidents, the request budget.

    `waits` has the seconds that a request would wait, by its lane. `requests` has the number of
    requests so far, by the status of their answers. `verified_at` is the end of the last healing by
    the schedule, which verifies a share of the files. None is not known.
    """

    read_at: datetime
    statuses: Sequence[SeriesStatus]
    incidents: Sequence[Incident]
    waits: Mapping[str, float]
    requests: Mapping[str, int]
    verified_at: datetime | None


def metrics_text(facts: Facts, now: datetime) -> str:
    """Return the metrics in Prometheus' text format. What is not known has no sample."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Metrics(facts, now))
    return generate_latest(registry).decode()


@dataclass(frozen=True, eq=False)
class _Metrics(Collector):
    facts: Facts
    now: datetime

    def collect(self) -> Iterator[Metric]:
        yield from self._of_series()
        yield self._open_buckets()
        kinds = Counter(incident.kind for incident in self.facts.incidents)
        yield _gauge(
            "incidents",
            "Open incidents, by kind of problem",
            "kind",
            {kind.value: kinds[kind] for kind in Kind},
        )
        yield _gauge(
            "budget_wait_seconds",
            "Time that a request to the exchange would wait now, by lane",
            "lane",
            self.facts.waits,
        )
        yield self._requests()
        yield self._age("verification", "Time since a run last verified files", "verified_at")
        yield self._age("lake_read", "Time since these figures were read from the lake", "read_at")

    def _of_series(self) -> Iterator[GaugeMetricFamily]:
        statuses = {str(status.series): status for status in self.facts.statuses}
        for name, text, value in (
            ("answer_age_seconds", "Time since the end of the newest answer", self._answer_age),
            ("candle_age_seconds", "Time since the newest candle ended", self._candle_age),
            ("explained_ratio", "Share of the time that is explained", lambda s: s.explained),
            ("days_due", "Days that healing would ask for again now", lambda s: len(s.due)),
            ("damaged_blobs", "Files found damaged", lambda s: s.damaged),
            ("damage_findings", "Files damaged, lost or out of date", lambda s: len(s.damage)),
        ):
            values = {series: value(status) for series, status in statuses.items()}
            yield _gauge(name, text, "series", values)

    def _answer_age(self, status: SeriesStatus) -> float | None:
        return self._seconds_since(status.answered_through)

    def _candle_age(self, status: SeriesStatus) -> float | None:
        age = status.age(self.now)
        return None if age is None else max(age, timedelta(0)).total_seconds()

    def _seconds_since(self, time: datetime | None) -> float | None:
        return None if time is None else max(self.now - time, timedelta(0)).total_seconds()

    def _age(self, name: str, text: str, field: str) -> GaugeMetricFamily:
        seconds = self._seconds_since(getattr(self.facts, field))
        return GaugeMetricFamily(f"coinbase_{name}_age_seconds", text, value=seconds)

    def _requests(self) -> CounterMetricFamily:
        family = CounterMetricFamily(
            "coinbase_requests",
            "Requests to the exchange by processes of this host, by status",
            labels=("status",),
        )
        for status, number in self.facts.requests.items():
            family.add_metric((status,), number)
        return family

    def _open_buckets(self) -> GaugeMetricFamily:
        family = GaugeMetricFamily(
            "coinbase_open_buckets",
            "Buckets of candles without an explanation, by state",
            labels=("series", "state"),
        )
        for status in self.facts.statuses:
            for state, buckets in open_buckets(status).items():
                family.add_metric((str(status.series), state.value), buckets)
        return family


def open_buckets(status: SeriesStatus) -> Mapping[State, int]:
    """Return how many buckets are open questions, by state."""
    buckets = dict.fromkeys(OPEN_STATES, 0)
    buckets[State.PENDING] = status.buckets[State.PENDING]
    for interval in status.unexplained:
        buckets[interval.state] += (
            interval.end - interval.start
        ) // status.series.granularity.delta
    return buckets


def _gauge(
    name: str, text: str, label: str, values: Mapping[str, float | None]
) -> GaugeMetricFamily:
    family = GaugeMetricFamily(f"coinbase_{name}", text, labels=(label,))
    for value, number in values.items():
        if number is not None:
            family.add_metric((value,), number)
    return family
