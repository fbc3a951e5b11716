"""What Dagster records of a stored blob: its URI, size and fields, as typed metadata."""

from datetime import datetime, timedelta

import dagster as dg

from coinbase_assets.durations import in_words
from coinbase_assets.plain_text import shown
from coinbase_assets.storage.stored_blob import StoredBlob
from coinbase_assets.table_metadata import Kind, is_number, is_readable, kind_of

# Fields by which programs recognise a blob, and what it was made of.
_NOT_SHOWN = ("path", "bytes", "md5", "content", "lake", "version", "digest", "made_of", "rule")


def blob_metadata(uri: str, blob: StoredBlob) -> dict[str, dg.MetadataValue]:
    """Return the metadata of the materialisation of the partition that the blob at `uri` holds.

    Empty fields are left out. The web UI shows `dagster/size_bytes` and `dagster/row_count` at the
    top of an asset's page.
    """
    fields = {
        name: shown_value(name, text)
        for name, text in blob.fields.items()
        if text and name not in _NOT_SHOWN
    }
    metadata = {
        "dagster/uri": dg.MetadataValue.url(uri),
        "dagster/size_bytes": dg.MetadataValue.int(blob.size),
        **fields,
    }
    if "rows" in metadata:
        metadata["dagster/row_count"] = metadata.pop("rows")
    return metadata


def shown_value(name: str, text: str) -> dg.MetadataValue:
    """Return a field's time, duration, whole number or truth value, or else its text in a line.

    Text is never a link or Markdown, because whoever can write blobs can choose it.
    """
    match kind_of(name) if is_readable(name, text) else Kind.TEXT:
        case Kind.TIME:
            return dg.MetadataValue.timestamp(datetime.fromisoformat(text))
        case Kind.SECONDS:
            return dg.MetadataValue.text(in_words(timedelta(seconds=int(text))))
        case Kind.NUMBERS:
            return dg.MetadataValue.text(shown(text))
    if is_number(text):
        return dg.MetadataValue.int(int(text))
    if text in ("true", "false"):
        return dg.MetadataValue.bool(text == "true")
    return dg.MetadataValue.text(shown(text))
