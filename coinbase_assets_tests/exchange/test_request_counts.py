"""Requests are counted by status, over all clients that share the file."""

from pathlib import Path

import pytest

from coinbase_assets.exchange.errors import ExchangeUnreachable, ProductNotFound
from coinbase_assets.exchange.request_counts import (
    REQUEST_COUNTS_FILE,
    RequestCounts,
    read_request_counts,
)
from coinbase_assets.exchange.resource import ExchangeResource
from coinbase_assets_tests.exchange.conftest import START, WINDOW, resource
from coinbase_assets_tests.exchange.test_client import SERIES
from coinbase_assets_tests.stand_in.exchange import StandInExchange


def ask(exchange: ExchangeResource) -> None:
    with exchange.get_client(give_up_after=2) as client:
        list(client.fetch_candles(SERIES, START, START + WINDOW))


def test_clients_add_to_the_counts_of_earlier_ones(budget_file: Path) -> None:
    counts = budget_file.with_name(REQUEST_COUNTS_FILE)
    assert read_request_counts(counts) == {}
    answers = iter(["503", None, None, "404"])
    with StandInExchange(rate=None, faults=lambda *_: next(answers)) as exchange:
        shared = resource(exchange.url, budget_file, rate=1000)
        ask(shared)
        ask(shared)
        assert read_request_counts(counts) == {"200": 2, "503": 1}
        with pytest.raises(ProductNotFound):
            ask(shared)
    assert read_request_counts(counts) == {"200": 2, "404": 1, "503": 1}


def test_requests_without_an_answer_are_counted(budget_file: Path) -> None:
    with pytest.raises(ExchangeUnreachable):
        ask(resource("http://127.0.0.1:1", budget_file, rate=1000))
    counts = read_request_counts(budget_file.with_name(REQUEST_COUNTS_FILE))
    assert counts.keys() == {"none"}
    assert counts["none"] > 1


@pytest.mark.parametrize("content", ["", "[]", '{"200": "many"}', "{"])
def test_damaged_counts_begin_again(tmp_path: Path, content: str) -> None:
    path = tmp_path / REQUEST_COUNTS_FILE
    path.write_text(content)
    counts = RequestCounts(path)
    counts.add("200")
    counts.save()
    assert read_request_counts(path) == {"200": 1}


def test_counts_that_cannot_be_written_are_no_error(tmp_path: Path) -> None:
    path = tmp_path / "a file" / REQUEST_COUNTS_FILE
    path.parent.write_text("not a folder")
    RequestCounts(path).save()
