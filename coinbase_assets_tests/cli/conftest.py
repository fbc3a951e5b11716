"""What tests of the command line use: a stand-in exchange, users, commands in this process.

A command runs in this process where that is enough, because starting a process takes seconds.
"""

import uuid
from collections.abc import Iterator
from subprocess import CompletedProcess

import pytest

from coinbase_assets_tests.cli.users import NOON, NewUser, Result, RunHere, User
from coinbase_assets_tests.processes import Start, process_environment, processes, quiet_instance
from coinbase_assets_tests.stand_in.exchange import StandInExchange


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Start]:
    with processes(tmp_path_factory.mktemp("folder")) as start:
        yield start


@pytest.fixture(scope="module")
def exchange() -> Iterator[StandInExchange]:
    with StandInExchange(rate=None, clock=NOON.timestamp) as exchange:
        yield exchange


@pytest.fixture(scope="module")
def new_user(
    start: Start,
    exchange: StandInExchange,
    azurite: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> NewUser:
    def new(**settings: str) -> User:
        usual = {
            "COINBASE_API_URL": exchange.url,
            "COINBASE_REQUESTS_PER_SECOND": "1000",
            "COINBASE_CONTAINER": f"test-{uuid.uuid4().hex}",
            "AZURE_STORAGE_CONNECTION_STRING": azurite,
        }
        home = quiet_instance(tmp_path_factory.mktemp("user") / "dagster")
        return User(start, process_environment(home, **usual) | settings)

    return new


@pytest.fixture
def run_here(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> RunHere:
    """Return a function that runs a user's command in this process."""

    def run(user: User, *arguments: str) -> Result:
        status = user.run_in_process(monkeypatch, *arguments)
        return CompletedProcess(arguments, status, *capsys.readouterr())

    return run
