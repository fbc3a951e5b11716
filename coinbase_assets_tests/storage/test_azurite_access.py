"""Who can read and change the embedded lake: this user, and nobody else."""

import base64
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from pwd import getpwnam
from urllib.parse import quote

import httpx
import pytest

from coinbase_assets.storage.azurite import find_running, running_azurite
from coinbase_assets.storage.azurite_process import signal_azurite
from coinbase_assets.storage.client import blob_service
from coinbase_assets.storage.errors import AzuriteError
from coinbase_assets_tests.stand_in.azurite import azurite_by_hand, batch_delete, public_sas
from coinbase_assets_tests.storage.conftest import servers
from coinbase_assets_tests.storage.test_azurite import (
    SomethingElse,
    end,
    is_up,
    user,
    web_server,
)

NAME = "devstoreaccount1"
IS_ROOT = os.geteuid() == 0


@contextmanager
def lake(data: Path, port: int) -> Iterator[str]:
    """Run Azurite with a blob in it; yields the connection string."""
    with running_azurite(data, port) as connection_string:
        with blob_service(connection_string) as service:
            container = service.create_container("candles")
            container.upload_blob("day", b"96 candles")
        yield connection_string


def blobs(connection_string: str) -> list[str]:
    with blob_service(connection_string) as service:
        return list(service.get_container_client("candles").list_blob_names())


def test_azurite_refuses_public_key(tmp_path: Path, port: int) -> None:
    """A web page, or another user, can send what the emulator's published key signs."""
    url, sas = f"http://127.0.0.1:{port}/{NAME}", public_sas()
    foreign = {"Origin": "https://evil.example", "Content-Type": "text/plain; boundary=b"}
    with lake(tmp_path, port) as connection_string, httpx.Client(trust_env=False) as client:
        batch = client.post(
            f"{url}/?comp=batch&{sas}", content=batch_delete(sas, "/candles/day"), headers=foreign
        )
        listed = client.get(f"{url}/candles?restype=container&comp=list&{sas}")
        deleted = client.delete(f"{url}/candles/day?{sas}")
        assert {answer.status_code for answer in (batch, listed, deleted)} == {403}
        assert blobs(connection_string) == ["day"]


@pytest.mark.soak
def test_azurite_by_hand_accepts_public_key(tmp_path: Path, port: int) -> None:
    """So the refused requests would succeed without the key of our own."""
    with azurite_by_hand(tmp_path, port) as connection_string:
        with blob_service(connection_string) as service:
            service.create_container("candles").upload_blob("day", b"96 candles")
        sas = public_sas()
        url = f"http://127.0.0.1:{port}/{NAME}/candles/day?{sas}"
        assert httpx.delete(url, trust_env=False).status_code == 202
        assert blobs(connection_string) == []


def test_azurite_knows_no_account_by_host(tmp_path: Path, port: int) -> None:
    """A host name of a foreign page may resolve to 127.0.0.1 (DNS rebinding)."""
    with lake(tmp_path, port):
        for host in (f"{NAME}.blob.core.windows.net", f"{NAME}.blob.evil.example"):
            headers = {"Host": host}
            url = f"http://127.0.0.1:{port}/candles?restype=container&comp=list&{public_sas()}"
            answer = httpx.get(url, headers=headers, trust_env=False)
            assert not answer.is_success
            assert b"day" not in answer.content


def test_azurite_key_is_private(tmp_path: Path, port: int) -> None:
    data, before = tmp_path / "data", os.umask(0)
    try:
        with running_azurite(data, port) as connection_string:
            pass
    finally:
        os.umask(before)
    key = (data / "account-key").read_text()
    assert len(base64.b64decode(key)) == 64
    assert f"AccountKey={key};" in connection_string
    assert (data / "account-key").stat().st_mode & 0o777 == 0o600
    assert data.stat().st_mode & 0o777 == 0o700


def test_azurite_key_is_in_no_command_line(tmp_path: Path, port: int) -> None:
    with running_azurite(tmp_path, port):
        listing = subprocess.run(["ps", "-wweo", "args"], capture_output=True, text=True).stdout
    key = (tmp_path / "account-key").read_text()
    assert str(port) in listing
    assert key not in listing
    assert quote(key, safe="") not in listing


@pytest.mark.parametrize("content", ["", "not base64", "c2hvcnQ="])
def test_azurite_damaged_key_names_file(tmp_path: Path, port: int, content: str) -> None:
    file = tmp_path / "account-key"
    file.write_text(content)
    with pytest.raises(AzuriteError, match=rf"^{file}: not a key; delete the file"):
        running_azurite(tmp_path, port).__enter__()
    assert servers(port) == []


def test_find_running_finds_azurite_of_this_data_only(tmp_path: Path, port: int) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    assert find_running(first, port) is None
    with running_azurite(first, port) as connection_string:
        assert find_running(first, port) == connection_string
        assert find_running(second, port) is None


@pytest.mark.skipif(not IS_ROOT, reason="only root can listen as another user")
def test_azurite_of_other_user_gets_no_data(tmp_path: Path, port: int) -> None:
    """Whatever calls itself Azurite on the port, and answers as ours would."""

    class Pretender(SomethingElse):
        status = 403
        server_version = "Azurite-Blob/3.35.0"

    with running_azurite(tmp_path, port):
        pass
    os.seteuid(getpwnam("nobody").pw_uid)
    try:
        listener = web_server(port, Pretender)
        listener.__enter__()
    finally:
        os.seteuid(0)
    try:
        with pytest.raises(AzuriteError, match=f"port {port} .* a program of another user"):
            running_azurite(tmp_path, port).__enter__()
        assert find_running(tmp_path, port) is None
    finally:
        listener.__exit__(None, None, None)


def test_azurite_never_signals_other_processes(tmp_path: Path, port: int, cache: Path) -> None:
    """The file may be damaged, or its number be of a process in another container."""
    with user(tmp_path, port) as process:
        assert is_up(process)
        (file,) = cache.glob("coinbase-assets/azurite-*/pid")
        (server,) = servers(port)
        assert signal_azurite(file, port, signal.SIGCONT)
        for pid in ("", "0", "-1", "1", "99999999999", "no number", str(process.pid)):
            file.write_text(pid)
            assert not signal_azurite(file, port, signal.SIGCONT)
        end(process)
        assert servers(port) == [server]
    os.kill(server, signal.SIGKILL)


ISOLATED = """
import fcntl, socket, struct, sys
from pathlib import Path
from coinbase_assets.storage.azurite import running_azurite

with socket.socket() as any_socket:  # ip link set lo up
    fcntl.ioctl(any_socket, 0x8914, struct.pack("16sh", b"lo", 1 | 64))
with running_azurite(Path(sys.argv[1]), int(sys.argv[2])):
    print("ran")
"""


def isolated(data: Path, port: int) -> subprocess.CompletedProcess[str]:
    """Use Azurite in a PID and network namespace of its own, as in a container."""
    command = ["unshare", "--net", "--pid", "--fork", "--mount-proc", sys.executable, "-c"]
    command += [ISOLATED, str(data), str(port)]
    return subprocess.run(command, capture_output=True, text=True)


@pytest.mark.soak
@pytest.mark.skipif(not IS_ROOT, reason="only root can make a network namespace")
def test_azurite_in_container_with_same_cache(tmp_path: Path, port: int) -> None:
    with running_azurite(tmp_path / "ours", port) as connection_string:
        other = isolated(tmp_path / "other", port)
        assert (other.stdout, other.stderr, other.returncode) == ("ran\n", "", 0)
        same = isolated(tmp_path / "ours", port)
        assert f"{tmp_path}/ours is in use by an Azurite on another port or" in same.stderr
        with blob_service(connection_string) as service:
            assert list(service.list_containers()) == []
    assert servers(port) == []
