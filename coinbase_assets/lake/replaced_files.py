"""Files for the user, which are written whole or not at all."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory


@contextmanager
def replaced(file: Path) -> Iterator[Path]:
    """Yield the path to write to. What is there at the end of the block replaces `file`.

    The path is in a new private folder beside `file`, so nobody can put a link there. An error in
    the block leaves `file` as it was. A symbolic link named `file` is itself replaced; the file
    that it points to stays as it is. Raises OSError.
    """
    with TemporaryDirectory(prefix=".coinbase-assets-", dir=file.parent) as folder:
        part = Path(folder, file.name)
        yield part
        os.replace(part, file)
