"""The `dagster.yaml` of an instance: a copy of the packaged one; users may edit the copy."""

import os
import re
import shutil
from hashlib import sha256
from pathlib import Path

# SHA-256 of each version of the packaged `dagster.yaml`, oldest first. A copy with one of these
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
    "fb1e4b06412a0a18a2d863c719306ff534296807612920ecc3fdcbf2a35442c6",
    "2f0ce2e75ef47617895f17c80f8a9a2fbb4a0ffe11ab2ba39daf2860e23fb921",
)
POSTGRES_URL = "DAGSTER_POSTGRES_URL"
# The block that names the storage, with the comment above it.
_STORAGE = re.compile(r"(?m)^(# .*\n)+event_log_storage:\n( .*\n)+")
_POSTGRES = f"""\
# Dagster's records are in PostgreSQL, at the URL in {POSTGRES_URL}.
storage:
  custom:
    module: coinbase_assets.dagster_instance.postgres_storage
    class: PostgresStorage
    config:
      postgres_url:
        env: {POSTGRES_URL}
"""
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
    """Return the packaged `dagster.yaml`."""
    return Path(__file__).with_name("dagster.yaml")


def config_for_postgres() -> str:
    """Return the packaged `dagster.yaml`, with Dagster's records in PostgreSQL."""
    return _STORAGE.sub(_POSTGRES, template().read_text())


def update_config(home: Path) -> None:
    """Copy the packaged `dagster.yaml` to `home` unless the file there is current or edited.

    Raises InstanceConfigError if the file names modules that are gone since, or a setting that is
    not set.
    """
    config = home / "dagster.yaml"
    if _is_replaceable(config):
        shutil.copy(template(), config)
    else:
        _refuse_old_modules(config)
        _refuse_missing_url(config)


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


def _refuse_missing_url(config: Path) -> None:
    is_named = f"env: {POSTGRES_URL}\n" in config.read_text()
    if is_named and not os.environ.get(POSTGRES_URL):
        raise InstanceConfigError(
            f"{POSTGRES_URL}: not set, but {config} takes the database from it; set it to"
            " postgresql://USER:PASSWORD@HOST/DATABASE"
        )
