"""Fields are read strictly: a value that cannot be read counts as missing."""

import pyarrow as pa
import pytest

from coinbase_assets.table_metadata import Fields, all_fields, is_readable, table_fields

GOOD = {
    "rows": "1440",
    "version": "1706745600",
    "buckets_no_trades": "0",
    "answered_through": "2024-02-01T00:00:00Z",
    "last_candle": "2024-01-31T23:59:00+00:00",
    "rule": "2",
    "disagreement": "[/x] \x1b[2J",
}
BAD_NUMBERS = [
    "many",
    "",
    "-5",
    "+5",
    "1.5",
    "1_000",
    " 1",
    "1\n",
    "٣",
    "9" * 19,
    "9" * 4400,
    "[/x]",
]
BAD_TIMES = [
    "yesterday",
    "",
    "2024-01-31T12:00:00",
    "2024-02-30T00:00:00Z",
    "9999-12-31T23:59:59Z",
    "0001-01-01T00:00:00Z",
    "[/x]",
    "9" * 8192,
]


@pytest.mark.parametrize("name", GOOD)
def test_good_value_is_readable(name: str) -> None:
    assert is_readable(name, GOOD[name])


@pytest.mark.parametrize("text", BAD_NUMBERS)
@pytest.mark.parametrize("name", ["rows", "version", "requests", "candles_changed", "usual_pause"])
def test_bad_number_is_not_readable(name: str, text: str) -> None:
    assert not is_readable(name, text)


@pytest.mark.parametrize("text", BAD_TIMES)
@pytest.mark.parametrize("name", ["fetched_at", "answered_through", "first_candle"])
def test_bad_time_is_not_readable(name: str, text: str) -> None:
    assert not is_readable(name, text)


def test_unreadable_field_counts_as_missing() -> None:
    fields = Fields({**GOOD, "rows": "many"}, "lake/a", KeyError)
    assert fields == {name: text for name, text in GOOD.items() if name != "rows"}
    assert fields.get("rows") is None
    with pytest.raises(KeyError, match="lake/a: its metadata has no readable 'rows'"):
        fields["rows"]


def test_fields_of_table_need_no_utf8() -> None:
    metadata = {b"coinbase_assets.rows": b"\xff", b"\xfe": b"", b"coinbase_assets.by": b"\xff"}
    table = pa.table({"n": [1]}).replace_schema_metadata(metadata)
    assert table_fields(table) == {"by": "\N{REPLACEMENT CHARACTER}"}
    assert all_fields(table).keys() == {"rows", "by"}
