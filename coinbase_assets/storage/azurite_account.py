"""The account of an embedded Azurite, whose key only this user can read.

The key that Microsoft publishes for emulators would let every web page and every user of the
machine read and delete the lake.
"""

import base64
import os
import secrets
import tempfile
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from coinbase_assets.storage.errors import AzuriteError

_NAME = "devstoreaccount1"
_KEY_BYTES = 64


@dataclass(frozen=True)
class AzuriteAccount:
    """The account of the Azurite that keeps its data in a folder."""

    data: Path
    key: str

    def __repr__(self) -> str:
        return f"AzuriteAccount({self.data})"

    @property
    def marker(self) -> str:
        """The name of a second account, which no other Azurite has.

        Folders in containers that share a network may have the same path, but not the same device
        and inode; a copy of a folder has the same key.
        """
        status = self.data.stat()
        identity = f"{self.data} {status.st_dev} {status.st_ino} {self.key}"
        return f"data{sha256(os.fsencode(identity)).hexdigest()[:20]}"

    @property
    def accounts(self) -> str:
        """The accounts as Azurite's variable AZURITE_ACCOUNTS has them."""
        return f"{_NAME}:{self.key};{self.marker}:{self.key}"

    def connection_string(self, port: int) -> str:
        return (
            f"DefaultEndpointsProtocol=http;AccountName={_NAME};AccountKey={self.key};"
            f"BlobEndpoint=http://127.0.0.1:{port}/{_NAME};"
        )


def find_account(data: Path) -> AzuriteAccount | None:
    """Return the account of this data folder, or None if it has none yet. Raises AzuriteError."""
    file = _key_file(data)
    try:
        key = file.read_text()
        valid = len(base64.b64decode(key, validate=True)) == _KEY_BYTES
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise AzuriteError(f"{file}: cannot be read ({error.strerror})") from None
    except ValueError:
        valid = False
    if not valid:
        raise AzuriteError(f"{file}: not a key; delete the file, and Azurite gets another key")
    return AzuriteAccount(data, key)


def create_account(data: Path) -> AzuriteAccount:
    """Give the data folder a new key, in a file of mode 0600, and return its account."""
    key = base64.b64encode(secrets.token_bytes(_KEY_BYTES)).decode()
    with tempfile.NamedTemporaryFile("w", dir=data, delete=False) as file:
        file.write(key)
    os.replace(file.name, _key_file(data))
    return AzuriteAccount(data, key)


def _key_file(data: Path) -> Path:
    return data / "account-key"
