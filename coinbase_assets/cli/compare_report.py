"""A comparison of files with the lake as people read it, and as a JSON object."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import numpy as np

from coinbase_assets.candles.calendar import format_time
from coinbase_assets.candles.comparison import (
    VALUES,
    BucketRange,
    Comparison,
    bucket_ranges,
)
from coinbase_assets.candles.series import CandleSeries, Series
from coinbase_assets.lake.reader import Lake
from coinbase_assets.plain_text import shown

_MOST_RANGES = 5
_MOST_EXAMPLES = 3


class Report(NamedTuple):
    """A comparison of the buckets that begin from `start` until `end`.

    `words` are what the ledger says of the first buckets that only the files have.
    """

    series: CandleSeries
    start: datetime
    end: datetime
    found: Comparison
    words: Sequence[str]

    def ranges(self) -> Mapping[str, Sequence[BucketRange]]:
        """Return the ranges of each kind of difference."""
        found, step = self.found, self.series.granularity.delta
        kinds = {
            "different": found.different,
            "only_in_files": found.only_in_files,
            "only_in_lake": found.only_in_lake,
        }
        return {kind: bucket_ranges(times, step) for kind, times in kinds.items()}

    def examples(self) -> Sequence["Example"]:
        """Return the first candles that differ."""
        of_files, of_lake = (
            table.slice(0, _MOST_EXAMPLES).to_pylist()
            for table in (self.found.files, self.found.lake)
        )
        differing = [
            [name for name, is_different in zip(VALUES, flags, strict=True) if is_different]
            for flags in self.found.differs.T[:_MOST_EXAMPLES]
        ]
        rows = zip(of_files, of_lake, differing, strict=True)
        return [Example(row.pop("time"), row, stored, names) for row, stored, names in rows]


class Example(NamedTuple):
    """A candle with values in the files and in the lake; those with these `names` differ."""

    time: datetime
    files: Mapping[str, float]
    lake: Mapping[str, float]
    names: Sequence[str]

    def __str__(self) -> str:
        values = (
            f"{n} {self.files[n]} in the files, {self.lake[n]} in the lake" for n in self.names
        )
        return f"{self.time:%FT%R}: {'; '.join(values)}"


def ledger_words(lake: Lake, series: CandleSeries, times: np.ndarray) -> Sequence[str]:
    """Return what the ledger says of the starts of the first ranges; nothing of a rollup.

    `times` are microseconds since 1970, ascending. Raises StorageError.
    """
    if not isinstance(series, Series):
        return []
    first = bucket_ranges(times, series.granularity.delta)[:_MOST_EXAMPLES]
    return [shown(lake.why(series.product, series.granularity, each.start)) for each in first]


def as_text(report: Report) -> str:
    """Return the report in lines: counts, ranges, examples, and what the ledger says."""
    return "\n".join(_lines(report))


def _lines(report: Report) -> Iterator[str]:
    yield f"{report.series}, {report.start:%FT%R}..{report.end:%FT%R} (ends are not included)"
    yield f"  equal: {report.found.equal:,}"
    for kind, ranges in report.ranges().items():
        yield f"  {kind.replace('_', ' ')}: {sum(each.buckets for each in ranges):,}"
        yield from (f"    {each}" for each in ranges[:_MOST_RANGES])
        if len(ranges) > _MOST_RANGES:
            yield f"    and {len(ranges) - _MOST_RANGES:,} more ranges"
        if kind == "different":
            yield from (f"    {example}" for example in report.examples())
        if kind == "only_in_files":
            yield from (f"    {sentence}" for sentence in report.words)


def as_object(report: Report) -> Mapping[str, Any]:
    """Return the report for programs; times are in ISO 8601, and ends are not included."""
    kinds: dict[str, dict[str, Any]] = {
        kind: {
            "candles": sum(each.buckets for each in ranges),
            "ranges": [_range_object(each) for each in ranges],
        }
        for kind, ranges in report.ranges().items()
    }
    kinds["different"]["examples"] = [
        {
            "time": format_time(example.time),
            "files": {name: example.files[name] for name in VALUES},
            "lake": {name: example.lake[name] for name in VALUES},
        }
        for example in report.examples()
    ]
    kinds["only_in_files"]["ledger"] = report.words
    return {
        "series": str(report.series),
        "start": format_time(report.start),
        "end": format_time(report.end),
        "equal": report.found.equal,
        **kinds,
    }


def _range_object(found: BucketRange) -> Mapping[str, Any]:
    return {
        "start": format_time(found.start),
        "end": format_time(found.end),
        "candles": found.buckets,
    }
