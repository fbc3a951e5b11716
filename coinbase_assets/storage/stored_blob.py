"""What is known of a blob without reading it."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class StoredBlob:
    """A blob as it was found; `fields` is its metadata."""

    path: str
    etag: str
    size: int
    fields: dict[str, str] = field(default_factory=dict)

    @property
    def version(self) -> int:
        """Orders the writers of a blob: the greater one is the newer."""
        version = self.fields.get("version", "")
        return int(version) if version.isdecimal() else 0
