"""How far a series is behind the exchange, computed from the metadata of its blobs.

Two asset checks report it. Dagster's freshness policies see only when an asset was last
materialised, in any partition; these checks see how far the exchange's answers reach, and
how old the newest candle is.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple

import dagster as dg

from coinbase_assets.candles.series import Series
from coinbase_assets.durations import in_words
from coinbase_assets.lake.recency import Recency, read_recency
from coinbase_assets.monitoring.freshness import FreshnessWindows
from coinbase_assets.plain_text import inert
from coinbase_assets.storage.errors import StorageError

if TYPE_CHECKING:
    from coinbase_assets.storage.parquet_store import ParquetStore

ANSWERS, CANDLES = CHECKS = ("answers_are_recent", "latest_candle_is_recent")
DESCRIPTIONS = {
    ANSWERS: "The exchange's last answer is younger than the freshness windows.",
    CANDLES: "The newest candle is no older than the usual pauses of the series allow.",
}
NOTHING_COLLECTED = "nothing is collected yet"


class Verdict(NamedTuple):
    """The result of a check: its severity (None if it passes) and a sentence with what was found.

    `age` is that of the last answer or of the newest candle, None if there is none. `limits` are
    the ages from which the check warns or fails.
    """

    severity: dg.AssetCheckSeverity | None
    found: str
    age: timedelta | None = None
    limits: Mapping[str, timedelta] = {}

    @property
    def metadata(self) -> Mapping[str, dg.MetadataValue]:
        """The age in minutes, which the web UI plots, and the limits in words."""
        limits: dict[str, dg.MetadataValue] = {
            name: dg.MetadataValue.text(in_words(limit)) for name, limit in self.limits.items()
        }
        if self.age is None:
            return limits
        minutes = round(self.age / timedelta(minutes=1), 1)
        return {"age_minutes": dg.MetadataValue.float(minutes), **limits}


def judge(recency: Recency, windows: FreshnessWindows, now: datetime) -> Mapping[str, Verdict]:
    """Returns the verdict of each check."""
    allowed = windows.warn + 2 * recency.usual_pause
    behind, age = (
        None if time is None else max(now - time, timedelta(0))
        for time in (recency.answered_through, recency.last_candle_end)
    )
    severity = None
    if behind is None or behind > windows.fail:
        severity = dg.AssetCheckSeverity.ERROR
    elif behind > windows.warn:
        severity = dg.AssetCheckSeverity.WARN
    late = age is None or age > allowed
    return {
        ANSWERS: Verdict(
            severity,
            _sentence("the exchange last answered", behind, windows.warn),
            behind,
            {"warn_after": windows.warn, "fail_after": windows.fail},
        ),
        CANDLES: Verdict(
            dg.AssetCheckSeverity.WARN if late else None,
            _sentence("the newest candle ended", age, allowed),
            age,
            {"warn_after": allowed},
        ),
    }


def judge_series(
    store: "ParquetStore", series: Series, windows: FreshnessWindows
) -> Mapping[str, Verdict]:
    """Reads and judges the recency of the series. A storage error fails both checks."""
    now = datetime.now(UTC)
    try:
        return judge(read_recency(store, series, now), windows, now)
    except StorageError as error:
        text = f"cannot be determined: {inert(str(error))}"
        return dict.fromkeys(CHECKS, Verdict(dg.AssetCheckSeverity.ERROR, text))


def _sentence(what: str, age: timedelta | None, allowed: timedelta) -> str:
    if age is None:
        return NOTHING_COLLECTED
    return f"{what} {in_words(age)} ago; more than {in_words(allowed)} is late"
