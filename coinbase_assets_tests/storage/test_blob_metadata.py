"""The metadata that Dagster records of a blob: typed by the fields' names, safe to show."""

import dagster as dg
import pytest

from coinbase_assets.storage.blob_metadata import blob_metadata, shown_value
from coinbase_assets.storage.stored_blob import StoredBlob
from coinbase_assets_tests.hostile_strings import HOSTILE

NEW_YEAR = 1_704_067_200.0


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("fetched_at", "2024-01-01T00:00:00Z", dg.MetadataValue.timestamp(NEW_YEAR)),
        ("answered_through", "2024-01-01T01:00:00+01:00", dg.MetadataValue.timestamp(NEW_YEAR)),
        ("last_candle", "yesterday", dg.MetadataValue.text("yesterday")),
        ("usual_pause", "4380", dg.MetadataValue.text("1 hour 13 minutes")),
        ("usual_pause", "9" * 18, dg.MetadataValue.int(int("9" * 18))),
        ("days_not_collected", "27", dg.MetadataValue.text("27")),
        ("requests", "3", dg.MetadataValue.int(3)),
        ("note", "007", dg.MetadataValue.int(7)),
        ("note", "9" * 19, dg.MetadataValue.text("9" * 19)),
        ("note", "-5", dg.MetadataValue.text("-5")),
        ("settled", "true", dg.MetadataValue.bool(True)),
        ("source", "https://evil.example", dg.MetadataValue.text("https://evil.example")),
    ],
)
def test_shown_value_has_type(name: str, text: str, expected: dg.MetadataValue) -> None:
    assert shown_value(name, text) == expected


@pytest.mark.parametrize("name", ["note", "fetched_at", "usual_pause", "requests", "from_trades"])
def test_shown_value_of_hostile_text_is_a_line(name: str) -> None:
    for text in HOSTILE:
        value = shown_value(name, text)
        assert not isinstance(value, dg.MarkdownMetadataValue | dg.UrlMetadataValue)
        assert str(value.value).isprintable()
        assert len(str(value.value)) <= 2_000


def test_blob_metadata_leaves_out_what_is_empty_or_for_programs() -> None:
    fields = {"rows": "24", "version": "7", "digest": "ab", "witness": "", "requests": "0"}
    metadata = blob_metadata("https://a.example/b", StoredBlob("b", "", 4096, fields))
    assert metadata == {
        "dagster/uri": dg.MetadataValue.url("https://a.example/b"),
        "dagster/size_bytes": dg.MetadataValue.int(4096),
        "dagster/row_count": dg.MetadataValue.int(24),
        "requests": dg.MetadataValue.int(0),
    }
