"""The `dagster.yaml` of an instance: a copy of this project's; users may edit the copy."""

import re
import shutil
from hashlib import sha256
from pathlib import Path

from coinbase_assets.settings import project_folder

# SHA-256 of each version of this project's `dagster.yaml`, oldest first. A copy with one of these
# hashes was not edited, so it can be replaced. After a change to the file, append its new hash.
SHIPPED = (
    "e8c844b67d589f0c0b1b7a20011b7bcefc7cfee39d7c3f28e7d12addebe262c4",
    "172bda34cc2808b6aaee48ef12f3bbf5aa7ffe27ffc6ef1b68617fc93feaace0",
    "fbce464516413e893dd0f87e015c0bb0f9569016bd66db9be1855b2c7b920fd0",
    "fe1f13984849e17acd8909380eb19753f1bdfca83193caeeff18a1ecce907b9d",
    "f5c781dba4c0cd949fe78d9315156d7da44753d98fffa1dee3f844304fd616ef",
    "34ee508c3c22a30edeef604a0263a066d2240e0db24f75cd641d675ed71e967f",
    "80933aeb0f02ad48525ff004afc55b11069386f0d0c094ba0d8f9ea97a235fb5",
    "f049f4c6ffa7e3ac5e358bf9782063e6124f5b3cb2aabe83c3d423bb54499dda",
    "f6b353899abb3040c1cc8b40410853dea69df26f58d2e418803b783245f12c11",
    "bdbdcf3acef366af0cc07376b1636ae6282f0fad5d242337bc09af69ee75135e",
    "5adb92894e255bd069f10b46a089c076c771e43fd1424a4e82e60efe7013eee4",
    "dc7e31dfc5478114101129db7f8c5bc324239b2ec23c09eb2488f96f46b9191e",
)
_MODULE = r"(?m)^\s*module:\s*['\"]?coinbase_assets\."
# What to do about modules of earlier versions that an edited copy may name.
_REMEDIES = {
    rf"{_MODULE}event_log\b": (
        "change coinbase_assets.event_log to coinbase_assets.dagster_instance.event_log"
    ),
    rf"{_MODULE}(dagster_instance\.)?sqlite_storage\b": (
        "remove the blocks run_storage and schedule_storage: Dagster's own use the same files"
    ),
}


class InstanceConfigError(OSError):
    """The instance's `dagster.yaml` must be edited; the message says how."""


def template() -> Path:
    """This project's own `dagster.yaml`. An installed package does not have it."""
    return project_folder() / ".dagster" / "dagster.yaml"


def update_config(home: Path) -> None:
    """Copy this project's `dagster.yaml` to `home` unless the file there is current or edited.

    Raises InstanceConfigError if the file names modules that are gone since.
    """
    config = home / "dagster.yaml"
    if template().exists() and _is_replaceable(config):
        shutil.copy(template(), config)
    elif config.exists():
        _refuse_old_modules(config)


def _is_replaceable(config: Path) -> bool:
    if not config.exists():
        return True
    text = config.read_bytes()
    return text != template().read_bytes() and sha256(text).hexdigest() in SHIPPED


def _refuse_old_modules(config: Path) -> None:
    text = config.read_text()
    remedies = [remedy for module, remedy in _REMEDIES.items() if re.search(module, text)]
    if remedies:
        raise InstanceConfigError(
            f"{config}: names modules of an earlier version; {', and '.join(remedies)}"
        )
