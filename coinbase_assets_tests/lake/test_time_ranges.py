"""Moments as pandas, NumPy, Arrow and the standard library have them, or refused with the rule."""

from datetime import UTC, date, datetime, time, timedelta, timezone, tzinfo
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from coinbase_assets.lake.time_ranges import parse_range

NOON = datetime(2024, 1, 31, 12, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
END = datetime(2100, 1, 1, tzinfo=UTC)


class ZoneWithoutOffset(tzinfo):
    def utcoffset(self, when: datetime | None) -> None:
        return None

    dst = tzname = utcoffset


def parse(value: Any) -> datetime:
    first, last = parse_range(value, END)
    assert last == END
    assert type(first) is datetime
    assert first.tzinfo is UTC
    return first


@pytest.mark.parametrize(
    "value",
    [
        "2024-01-31T12:00",
        " 2024-01-31 12:00:00 \r\n",
        "2024-01-31T12:00Z",
        "2024-01-31T13:00+01:00",
        "20240131T120000",
        np.str_("2024-01-31T12"),
        datetime(2024, 1, 31, 12),
        datetime(2024, 1, 31, 13, tzinfo=timezone(timedelta(hours=1))),
        datetime(2024, 1, 31, 21, tzinfo=ZoneInfo("Asia/Tokyo")),
        datetime(2024, 1, 31, 12, tzinfo=ZoneWithoutOffset()),
        pd.Timestamp("2024-01-31 12:00"),
        pd.Timestamp("2024-01-31 13:00", tz="Europe/Berlin"),
        pd.Timestamp("2024-01-31 12:00").as_unit("s"),
        pd.Series(pd.to_datetime(["2024-01-31 13:00+01:00"])).max(),
        *(np.datetime64("2024-01-31T12", unit) for unit in ("h", "m", "s", "ms", "us", "ns")),
        pd.Series(pd.to_datetime(["2024-01-31 12:00"])).to_numpy()[0],
        *(pa.scalar(NOON, pa.timestamp(unit, "UTC")) for unit in ("s", "us", "ns")),
        pa.scalar(NOON, pa.timestamp("us", "Asia/Tokyo")),
    ],
)
def test_time_is_taken(value: Any) -> None:
    assert parse(value) == NOON


@pytest.mark.parametrize(
    "value",
    [
        "2024-02-01",
        date(2024, 2, 1),
        *(np.datetime64("2024-02", unit) for unit in ("M", "D")),
        pa.scalar(date(2024, 2, 1)),
        pd.Timestamp("2024-02-01"),
    ],
)
def test_day_is_its_midnight(value: Any) -> None:
    assert parse(value) == datetime(2024, 2, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    "value",
    [
        np.datetime64("2024-01-31T12:00:00.000000001"),
        pd.Timestamp("2024-01-31T12:00:00.000000001"),
        pd.Timestamp("2024-01-31T12:00:00.000000999", tz="UTC"),
    ],
)
def test_fraction_of_microsecond_is_rounded_up(value: Any) -> None:
    """A range from just after a bucket's start does not hold that bucket."""
    assert parse(value) == NOON + MICROSECOND


@pytest.mark.parametrize(
    "value",
    [
        1706702400,
        1706702400.0,
        True,
        np.int64(1706702400),
        Decimal(1706702400),
        pd.NaT,
        np.datetime64("NaT", "ns"),
        pa.scalar(None, pa.timestamp("us")),
        np.datetime64("20000-01-01"),
        np.timedelta64(1, "h"),
        timedelta(hours=1),
        time(12),
        pd.Period("2024-01"),
        np.array(["2024-01-31"], dtype="datetime64[D]"),
        [2024, 1, 31],
        b"2024-01-31",
        "",
        "today",
        "2024-01",
        "31.01.2024",
        "2024-02-30",
        "1706702400",
        "2024-12-31T23:59:60Z",
        datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=14))),
    ],
)
def test_other_value_is_refused(value: Any) -> None:
    for name, ends in (("start", (value, END)), ("end", (NOON, value))):
        with pytest.raises(ValueError, match=f"^{name}=") as refused:
            parse_range(*ends)
        assert str(refused.value).endswith(
            ": not a time; write 2024-01-31 or 2024-01-31T12:00, or give a date, a datetime, a"
            " pandas Timestamp or a NumPy datetime64, not a number"
        )
