"""Installing Azurite: what is locked, from which registry, and into whose folder."""

import base64
import hashlib
import io
import json
import os
import re
import socket
import tarfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from coinbase_assets.file_locks import exclusive
from coinbase_assets.storage import azurite_program
from coinbase_assets.storage.azurite_program import cache_folder, installed_azurite
from coinbase_assets.storage.errors import AzuriteError
from coinbase_assets_tests.stand_in.forward_proxy import forward_proxy

LOCK = azurite_program._NPM / "package-lock.json"
MAIN = "dist/src/blob/main.js"
HOST = "npm.invalid"


def tarball() -> bytes:
    """A package that has Azurite's name and main script, and nothing else."""
    manifest = {"name": "azurite", "version": azurite_program._VERSION}
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for name, text in (("package.json", json.dumps(manifest)), (MAIN, "")):
            member = tarfile.TarInfo(f"package/{name}")
            member.size = len(text)
            archive.addfile(member, io.BytesIO(text.encode()))
    return packed.getvalue()


def sha512(content: bytes) -> str:
    return f"sha512-{base64.b64encode(hashlib.sha512(content).digest()).decode()}"


class _Handler(BaseHTTPRequestHandler):
    server: "Registry"

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(self.server.answer(self.path))

    def log_message(self, *_: object) -> None:
        pass


class Registry(ThreadingHTTPServer):
    """A registry that has the package of `tarball` alone."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.tarball = tarball()

    def answer(self, path: str) -> bytes:
        if path.endswith(".tgz"):
            return self.tarball
        version = azurite_program._VERSION
        dist = {"tarball": f"http://{HOST}/azurite.tgz", "integrity": sha512(self.tarball)}
        package = {"name": "azurite", "version": version, "dist": dist}
        return json.dumps({"name": "azurite", "versions": {version: package}}).encode()


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Registry]:
    """The registry that the user has configured, by a name that a proxy alone can resolve."""
    with Registry() as registry, forward_proxy(registry.server_port) as proxy:
        threading.Thread(target=registry.serve_forever, args=(0.02,)).start()
        for name, value in proxy.environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("npm_config_registry", f"http://{HOST}/")
        monkeypatch.setenv("npm_config_cache", str(tmp_path / "npm"))
        yield registry
        registry.shutdown()
    assert proxy.hosts <= {HOST}


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The project's folder in an empty cache, not created yet."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "coinbase-assets"


def lock(folder: Path, integrity: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the lock file demand one package alone."""
    version = azurite_program._VERSION
    root = {"dependencies": {"azurite": version}}
    package = {"version": version, "integrity": integrity}
    packages = {"": root, "node_modules/azurite": package}
    (folder / "package.json").write_text(json.dumps(root))
    (folder / LOCK.name).write_text(json.dumps({"lockfileVersion": 3, "packages": packages}))
    monkeypatch.setattr(azurite_program, "_NPM", folder)


def test_lock_file_has_a_hash_of_each_package_and_no_address() -> None:
    text = LOCK.read_text()
    root, *packages = json.loads(text)["packages"].values()
    assert root["dependencies"] == {"azurite": azurite_program._VERSION}
    assert '"resolved"' not in text
    assert all(re.fullmatch(r"sha512-[\w+/]{86}==", package["integrity"]) for package in packages)
    assert not any(package.get("dev") or package.get("hasInstallScript") for package in packages)


def test_azurite_comes_from_the_users_registry_into_a_private_folder(
    registry: Registry, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock(tmp_path, sha512(registry.tarball), monkeypatch)
    main = installed_azurite()
    assert main.is_file()
    assert str(main.relative_to(main.parents[5])) == f"node_modules/azurite/{MAIN}"
    for folder in (cache, main.parents[5]):
        assert folder.stat().st_mode & 0o777 == 0o700


def test_changed_package_is_refused(
    registry: Registry, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = sha512(registry.tarball)
    lock(tmp_path, expected, monkeypatch)
    registry.tarball += b"planted"
    rule = f"node_modules/azurite is not the file whose {expected} is in {tmp_path / LOCK.name};"
    with pytest.raises(AzuriteError, match=re.escape(rule)) as refused:
        installed_azurite()
    assert str(refused.value).endswith(
        "set npm_config_registry to a registry that serves packages unchanged"
    )
    assert not list(cache.glob("azurite-*/node_modules"))


@pytest.mark.soak
def test_another_lock_file_is_another_installation(
    registry: Registry, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock(tmp_path, sha512(registry.tarball), monkeypatch)
    before = installed_azurite()
    registry.tarball = registry.tarball + b"\0"
    lock(tmp_path, sha512(registry.tarball), monkeypatch)
    assert installed_azurite() != before


@pytest.fixture
def silent_registry(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[socket.socket]:
    """A registry that takes connections, and never answers."""
    lock(tmp_path, sha512(b""), monkeypatch)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        monkeypatch.setenv("npm_config_registry", f"http://127.0.0.1:{port}/")
        monkeypatch.setenv("npm_config_cache", str(tmp_path / "npm"))
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        yield silent


NOT_INSTALLED = (
    r"^azurite .* was not installed into \S+ within 2 s; if the npm registry is unreachable, set or"
    r" correct HTTPS_PROXY, .*, or set AZURE_STORAGE_CONNECTION_STRING to your storage account$"
)


@pytest.mark.usefixtures("silent_registry")
def test_registry_that_does_not_answer_is_given_up(cache: Path) -> None:
    began = time.monotonic()
    with pytest.raises(AzuriteError, match=NOT_INSTALLED):
        installed_azurite(2)
    assert time.monotonic() - began < 30
    assert all(folder.suffix == ".unfinished" for folder in cache.glob("azurite-*/"))


def test_registry_out_of_reach_is_an_error_of_one_line(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("npm_config_registry", "http://127.0.0.1:1/")
    monkeypatch.setenv("npm_config_cache", str(tmp_path / "npm"))
    monkeypatch.setenv("npm_config_fetch_retries", "0")
    # Now and then, npm ends without naming a cause.
    rule = (
        rf"^npm could not install azurite \S+ into {cache}/\S+: (request to"
        r" http://127\.0\.0\.1:1/\S+ failed, reason: connect ECONNREFUSED 127\.0\.0\.1:1"
        r"|npm error Exit handler never called! .*);"
        r" if the npm registry is unreachable, .* AZURE_STORAGE_CONNECTION_STRING [a-z ]+$"
    )
    with pytest.raises(AzuriteError, match=rule):
        installed_azurite()


@pytest.mark.usefixtures("silent_registry")
def test_who_waits_for_an_installation_says_so_once_and_not_for_ever(
    cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    with pytest.raises(AzuriteError):
        installed_azurite(0.1)
    (locked,) = cache.glob("azurite-*.lock")
    caplog.clear()
    with exclusive(locked), pytest.raises(AzuriteError, match=NOT_INSTALLED):
        installed_azurite(2)
    waiting = f"Waiting for another process, which installs Azurite into {locked.with_suffix('')}"
    assert caplog.messages == [waiting]


def test_who_waited_finds_the_installation_of_the_other(
    registry: Registry, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock(tmp_path, sha512(registry.tarball), monkeypatch)
    with ThreadPoolExecutor() as threads:
        found = [threads.submit(installed_azurite) for _ in range(3)]
    assert len({each.result() for each in found}) == 1
    assert len(list(cache.glob("azurite-*/node_modules"))) == 1


@pytest.mark.usefixtures("silent_registry")
def test_azurite_on_the_path_is_used(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    main = tmp_path / "lib" / "node_modules" / "azurite" / MAIN
    main.parent.mkdir(parents=True)
    main.touch()
    program = main.parents[1] / "azurite.js"
    program.touch(0o755)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "azurite").symlink_to(program)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=os.pathsep)
    assert installed_azurite(0) == main
    main.unlink()
    with pytest.raises(AzuriteError):
        installed_azurite(0)


@pytest.mark.parametrize("mode", [0o770, 0o707])
def test_folder_that_others_can_write_into_is_refused(cache: Path, mode: int) -> None:
    cache.mkdir(parents=True)
    cache.chmod(mode)
    rule = rf"^{cache}: other users can change .* mode {mode:o}\); delete it, or set XDG_CACHE_HOME"
    with pytest.raises(AzuriteError, match=rule):
        cache_folder("azurite-10000")


def test_folder_of_another_user_is_refused(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache.mkdir(parents=True)
    owner = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: owner + 1)
    with pytest.raises(AzuriteError, match=rf"belongs to user {owner} .* set XDG_CACHE_HOME"):
        cache_folder("azurite-10000")


@pytest.mark.soak
def test_locked_azurite_is_what_the_registry_has(cache: Path) -> None:
    assert installed_azurite().is_file()
