"""`collect` asks the exchange while it loads Dagster."""

import subprocess
import sys
from collections import Counter

from coinbase_assets_tests.cli.users import NewUser
from coinbase_assets_tests.stand_in.exchange import StandInExchange

# Ends only if so many requests are sent before Dagster is imported.
WAITING = """
import builtins, json, sys, time
from urllib.request import urlopen

def import_later(name, *rest, **named):
    while name == "dagster" and json.load(urlopen("URL/stats"))["requests"] < 14:
        time.sleep(0.01)
    return import_now(name, *rest, **named)

import_now, builtins.__import__ = builtins.__import__, import_later
from coinbase_assets.cli.main import main
main(sys.argv[1:])
"""
DAYS = ("BTC-USD:1m", "--from", "2024-01-01", "--to", "2024-01-03")


def test_collect_asks_while_dagster_loads(new_user: NewUser) -> None:
    with StandInExchange(rate=None) as exchange:
        user = new_user(COINBASE_API_URL=exchange.url)
        command = [sys.executable, "-c", WAITING.replace("URL", exchange.url), "collect", *DAYS]
        done = subprocess.run(
            command, env=user.environment, capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 0, done.stderr
        asked = Counter(request.params["granularity"] for request in exchange.requests)
    assert asked["60"] == 15
    assert "16/16 windows" in done.stdout


def test_dry_run_asks_for_nothing(new_user: NewUser) -> None:
    with StandInExchange(rate=None) as exchange:
        user = new_user(COINBASE_API_URL=exchange.url)
        assert user.run("collect", *DAYS, "--dry-run").returncode == 0
        assert not exchange.requests
