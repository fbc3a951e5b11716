"""Who owns the sockets of this machine's own connections."""

import os
import socket
import sys

import pytest

from coinbase_assets.local_sockets import connected_user, listening_users
from coinbase_assets_tests.conftest import free_port

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="Linux alone says who connects")


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", "::"])
def test_listening_users_has_user_at_any_address(host: str) -> None:
    port = free_port()
    assert listening_users(port) == set()
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, port), family=family):
        assert listening_users(port) == {os.geteuid()}


def test_connected_user_is_user_of_client() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)) as client:
            assert connected_user(client.getsockname(), port) == os.geteuid()
            assert connected_user(("127.0.0.1", free_port()), port) is None
