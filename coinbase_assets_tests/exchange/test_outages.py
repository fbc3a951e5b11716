"""Lines about an outage of the exchange: one at its start, one a minute, one at its end."""

import logging
from collections.abc import Callable
from pathlib import Path

import pytest

from coinbase_assets.exchange.errors import ExchangeUnavailable
from coinbase_assets.exchange.outages import Outages
from coinbase_assets.exchange.resource import ExchangeResource
from coinbase_assets_tests.conftest import free_port
from coinbase_assets_tests.stand_in.exchange import StandInExchange

ERROR = ExchangeUnavailable("no answer")
Said = Callable[[], list[str]]


class Time:
    now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture) -> Said:
    caplog.set_level(logging.INFO)

    def said() -> list[str]:
        lines = [record.getMessage() for record in caplog.records if "outages" in record.name]
        caplog.clear()
        return lines

    return said


def test_outage_is_said_once_a_minute_by_all_processes(tmp_path: Path, said: Said) -> None:
    """Two objects on one file stand for two processes."""
    clock = Time()
    first, second = (Outages(tmp_path / "outage.json", clock) for _ in range(2))
    for _ in range(211):
        first.failed(ERROR)
        second.failed(ERROR)
        clock.now += 2
    clock.now += 8
    second.answered()
    first.answered()
    begin, *between, end = said()
    assert begin == "The exchange does not answer, trying again: no answer"
    assert between == [
        f"No answer for {minutes} minute{'s' if minutes > 1 else ''}: no answer"
        for minutes in range(1, 8)
    ]
    assert end == "The exchange answers again, after 7 minutes 10 seconds"
    assert not (tmp_path / "outage.json").exists()


def test_answers_between_failures_end_no_outage(tmp_path: Path, said: Said) -> None:
    clock = Time()
    outages = Outages(tmp_path / "outage.json", clock)
    for _ in range(20):
        outages.failed(ERROR)
        outages.answered()
        clock.now += 1
    assert said() == ["The exchange does not answer, trying again: no answer"]


def test_old_outage_is_forgotten(tmp_path: Path, said: Said) -> None:
    clock = Time()
    outages = Outages(tmp_path / "outage.json", clock)
    outages.failed(ERROR)
    clock.now += 86_400
    outages.failed(ERROR)
    assert said() == ["The exchange does not answer, trying again: no answer"] * 2


def test_processes_whose_clocks_differ_say_it_once(tmp_path: Path, said: Said) -> None:
    early, late = Time(), Time()
    early.now -= 1
    for clock in (late, early, late):
        Outages(tmp_path / "outage.json", clock).failed(ERROR)
    assert said() == ["The exchange does not answer, trying again: no answer"]


@pytest.mark.parametrize("text", ["", "[]", "{", '{"began": 1}'])
def test_damaged_file_is_a_new_outage(tmp_path: Path, said: Said, text: str) -> None:
    (tmp_path / "outage.json").write_text(text)
    outages = Outages(tmp_path / "outage.json", Time())
    outages.answered()
    outages.failed(ERROR)
    assert said() == ["The exchange does not answer, trying again: no answer"]


@pytest.mark.soak
def test_resource_says_outage_and_its_end(
    tmp_path: Path, said: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("coinbase_assets.exchange.outages._QUIET_SECONDS", 0.0)
    port = free_port()
    resource = ExchangeResource(
        api_url=f"http://127.0.0.1:{port}",
        requests_per_second=100,
        give_up_after=4,
        budget_path=str(tmp_path / "budget.sqlite"),
    )
    for _ in range(2):
        with resource.get_client() as client, pytest.raises(ExchangeUnavailable):
            client.fetch_products()
    with StandInExchange(port=port, rate=None), resource.get_client() as client:
        client.fetch_products()
    begin, end = said()
    assert begin.startswith("The exchange does not answer, trying again: no answer from http")
    assert end.startswith("The exchange answers again, after ")
