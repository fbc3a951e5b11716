"""What a listing says about a blob."""

from dataclasses import dataclass, field

from coinbase_assets.table_metadata import is_number


@dataclass(frozen=True)
class StoredBlob:
    """A blob as a listing or a put returned it; `size` in bytes, `fields` is its metadata.

    `md5` is the MD5 that the storage keeps of the bytes, in hexadecimal; "" if it keeps none of
    this blob, None if it keeps none of any. An `archived` blob cannot be read. `damage` says why a
    file is not the table that belongs at its path. Where the metadata does not belong to the bytes,
    it `is_outdated`, and `fields` are those of the file.
    """

    path: str
    etag: str
    size: int
    fields: dict[str, str] = field(default_factory=dict)
    md5: str | None = None
    archived: bool = False
    damage: str = ""
    is_outdated: bool = False

    @property
    def version(self) -> int:
        """The number that orders the writers of a blob, greater is newer; 0 if it has none."""
        version = self.fields.get("version", "")
        return int(version) if is_number(version) else 0
