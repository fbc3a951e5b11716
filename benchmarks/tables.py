"""What every benchmark prints: the machine, and tables of medians and ratios, in Markdown."""

import os
import platform
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

_SHOWN = ("dagster", "azure-storage-blob", "pyarrow", "pandas", "httpx")


@dataclass(frozen=True)
class Measured:
    """What one contender took, a value a run.

    This project aims at a ratio of `at_most`, or that no value is above `limit`.
    """

    name: str
    values: Sequence[float]
    at_most: float | None = None
    limit: float | None = None

    @property
    def median(self) -> float:
        return statistics.median(self.values)


def machine() -> str:
    """The processor, the cores, and the versions that a figure depends on."""
    model = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ] or [platform.processor()]
    packages = ", ".join(f"{name} {version(name)}" for name in _SHOWN)
    return (
        f"{model[0]}, {os.cpu_count()} cores, {platform.system()},"
        f" Python {platform.python_version()}, {packages}"
    )


def print_table(
    work: str, ours: Measured, *others: Measured, floor: float | None = None, unit: str = "s"
) -> None:
    """A row for each contender: its figures, how far above the floor, and ours divided by its."""
    print(f"\n**{work}**" + (f" (floor {floor:.1f} {unit})" if floor else "") + "\n")
    print(f"| | min | median | max, {unit} | runs | of the floor | ours / it | target |")
    print("|---|---|---|---|---|---|---|---|")
    for one in (ours, *others):
        above = f"{one.median / floor:.2f}" if floor else ""
        ratio = ours.median / one.median
        shown = "" if one is ours or one.limit is not None else f"{ratio:.3f}"
        judged = one.median / floor if one is ours and floor else ratio
        if one.limit is not None:
            target = _target(max(one.values), one.limit, f" {unit}")
        else:
            target = _target(judged, one.at_most)
        print(
            f"| {one.name} | {min(one.values):.2f} | {one.median:.2f} | {max(one.values):.2f}"
            f" | {len(one.values)} | {above} | {shown} | {target} |",
            flush=True,
        )


def _target(value: float, at_most: float | None, unit: str = "") -> str:
    if at_most is None:
        return ""
    return f"at most {at_most:g}{unit}: {'met' if value <= at_most else 'missed'}"
