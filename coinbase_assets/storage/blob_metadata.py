"""What Dagster records of a stored blob: its URI, size and fields, as typed metadata."""

from coinbase_assets.plain_text import shown
from coinbase_assets.storage.stored_blob import StoredBlob
from coinbase_assets.table_metadata import is_number

# Fields by which a store recognises its blobs.
_NOT_SHOWN = ("path", "bytes", "md5", "content")


def blob_metadata(uri: str, blob: StoredBlob) -> dict[str, int | bool | str]:
    """Return the metadata of the materialisation of the partition that the blob at `uri` holds."""
    fields = {
        name: shown_value(text) for name, text in blob.fields.items() if name not in _NOT_SHOWN
    }
    metadata = {"dagster/uri": uri, "size_bytes": blob.size, **fields}
    if "rows" in metadata:
        metadata["dagster/row_count"] = metadata.pop("rows")
    return metadata


def shown_value(text: str) -> int | bool | str:
    """Return a field's whole number or truth value, which the web UI can plot, or else its text."""
    if is_number(text):
        return int(text)
    return {"true": True, "false": False}.get(text, shown(text))
