"""The ids of the lakes whose files belong into a container.

Each file of a lake names an id. A mark, a blob in the folder `lakes/` whose name has the ids, says
that their files belong here. The mark is stored before the first file that names it. So a file
whose id has no mark was put there by somebody else.
"""

import re
import uuid
from collections.abc import Callable, Collection, Iterable
from threading import Lock

from coinbase_assets.storage.blob_rules import BlobRules
from coinbase_assets.storage.blob_source import BlobSource
from coinbase_assets.storage.stored_blob import StoredBlob

_FOLDER = "lakes/"
_ID = re.compile(r"[0-9a-f]{16}")
_TEXT = b"Files with an id in the name of a file here belong to this lake. Copy it with the lake.\n"

Survey = Callable[[Iterable[StoredBlob]], dict[str, StoredBlob]]


class LakeIds:
    """The ids that have a mark in the container of `source`. Without a mark, all files belong."""

    def __init__(self, source: BlobSource, rules: BlobRules) -> None:
        self._source = source
        self._rules = rules
        self._marked: Collection[str] = ()
        self._marking = Lock()

    def own(self, survey: Survey) -> str:
        """Return the id that new files name.

        In a container without a mark, those of the files that are there get one: they may come from
        a copy, or their mark is lost. If they name none, a new id gets one.
        """
        with self._marking:
            self._marked = self._marked or self._listed() or self._mark(self._used(survey))
            return min(self._marked)

    def learn(self, blobs: Iterable[StoredBlob]) -> None:
        """List the marks if a blob's id is not known: another process may have added it."""
        if {*map(self._id_of, blobs)} - {*self._marked, ""}:
            self._marked = self._listed()

    def trusts(self, blob: StoredBlob) -> bool:
        """Whether the learned blob belongs here, as far as its id says."""
        lake = self._id_of(blob)
        return not lake or not self._marked or lake in self._marked

    def _id_of(self, blob: StoredBlob) -> str:
        return blob.fields.get("lake", "") if self._rules.is_of_lake(blob.path) else ""

    def _listed(self) -> Collection[str]:
        names = (blob.path.removeprefix(_FOLDER) for blob in self._source.list(_FOLDER))
        return {each for name in names for each in _ID.findall(name)}

    def _used(self, survey: Survey) -> Collection[str]:
        blobs = (blob for blob in self._source.list("") if self._rules.is_of_lake(blob.path))
        return {*filter(_ID.fullmatch, map(self._id_of, survey(blobs).values()))}

    def _mark(self, used: Collection[str]) -> Collection[str]:
        """Store one mark for all ids, so that nobody sees only some of them."""
        ids = used or {uuid.uuid4().hex[:16]}
        path = f"{_FOLDER}{'-'.join(sorted(ids))}"
        self._source.put(path, _TEXT, "text/plain", {}, overwrite=True)
        return ids
