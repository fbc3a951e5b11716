"""Request windows: as few as possible, none too long, no gap between them."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from coinbase_assets.candles.series import Granularity
from coinbase_assets.candles.windows import Window, request_windows

START = datetime(2023, 12, 31, tzinfo=UTC)
DAY = timedelta(days=1)


def windows(granularity: Granularity, days: float) -> list[Window]:
    return list(request_windows(START, START + days * DAY, granularity))


@pytest.mark.parametrize("days", [1, 2, 31, 366])
@pytest.mark.parametrize("granularity", Granularity)
def test_request_windows_adjoin_and_are_full(granularity: Granularity, days: int) -> None:
    found = windows(granularity, days)
    assert found[0].start == START
    assert found[-1].end == START + days * DAY
    assert all(left.end == right.start for left, right in pairwise(found))
    lengths = [(window.end - window.start) / granularity.delta for window in found]
    assert set(lengths[:-1]) <= {300}
    assert 0 < lengths[-1] <= 300


@pytest.mark.parametrize(
    ("granularity", "requests"), [("1m", 149), ("5m", 30), ("15m", 10), ("1h", 3), ("1d", 1)]
)
def test_request_windows_of_a_month(granularity: str, requests: int) -> None:
    assert len(windows(Granularity(granularity), 31)) == requests


def test_request_windows_run_across_days() -> None:
    first, *_ = windows(Granularity.FIFTEEN_MINUTES, 31)
    assert first == Window(START, START + timedelta(hours=75))


@pytest.mark.parametrize("days", [0, -1])
def test_request_windows_of_empty_range(days: int) -> None:
    assert windows(Granularity.ONE_MINUTE, days) == []


def test_window_text_names_its_ends() -> None:
    window = Window(START, START + timedelta(hours=5))
    assert str(window) == "2023-12-31T00:00:00Z until 2023-12-31T05:00:00Z"
