"""What a listing says about a blob."""

from dataclasses import dataclass, field

from coinbase_assets.table_metadata import is_number


@dataclass(frozen=True)
class StoredBlob:
    """A blob as a listing or a put returned it; `size` in bytes, `fields` is its metadata."""

    path: str
    etag: str
    size: int
    fields: dict[str, str] = field(default_factory=dict)

    @property
    def version(self) -> int:
        """The number that orders the writers of a blob, greater is newer; 0 if it has none."""
        version = self.fields.get("version", "")
        return int(version) if is_number(version) else 0
