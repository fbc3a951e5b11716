"""What people get wrong: an exit status, and a line or two with value, rule and remedy."""

import re
import shlex
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from coinbase_assets_tests.cli.users import NewUser, RunHere

FUTURE = f"{datetime.now(UTC) + timedelta(days=2):%F}"
FORM = "write PRODUCT:GRANULARITY, for example ETH-EUR:15m, or 'ETH-*:1h,1d'"
GRANULARITIES = "allowed are 1m 5m 15m 1h 6h 1d"
DAYS = "write 2024-01-31, 2024-01, 2024, or -7d for 7 days ago"
FORMATS = "unknown format; end the name with .parquet or .csv or .csv.gz or .json or .jsonl or"
SELECTS = "write one SELECT (or WITH, FROM, VALUES), DESCRIBE, SUMMARIZE, SHOW or EXPLAIN"
CLOSED = "http://127.0.0.1:1"
NETWORK = "check the network, HTTPS_PROXY and COINBASE_API_URL, or try it offline: make demo"
NO_AZURE = "AZURE_STORAGE_CONNECTION_STRING="

# Settings and what was typed; the exit status; a part of the first line.
MISTAKES: list[tuple[str, int, str]] = [
    ("colect", 2, "No such command 'colect'. Did you mean 'collect'?"),
    ("--colour list", 2, "No such option '--colour'; see coinbase-assets --help"),
    ("alerts lst", 2, "No such command 'lst'. Did you mean 'list'?"),
    ("collect --form 2024-01-01", 2, "No such option '--form'. (Did you mean one of: '--from'"),
    ("collect --from", 2, "Option '--from' requires an argument; see coinbase-assets COMMAND --he"),
    ("collect ETH", 2, f"'ETH': without a granularity; {FORM}"),
    ("collect ETH-EUR", 2, f"'ETH-EUR': without a granularity; {FORM}"),
    ("collect 15m", 2, f"'15m': without a granularity; {FORM}"),
    ("collect :15m", 2, f"':15m': without a granularity; {FORM}"),
    ("collect ETH-EUR:2m", 2, f"'ETH-EUR:2m': unknown granularity '2m'; {GRANULARITIES}"),
    ("collect ETH-EUR:1M", 2, f"unknown granularity '1M'; {GRANULARITIES}"),
    ("collect --series ETH-EUR:3h", 2, f"unknown granularity '3h'; {GRANULARITIES}"),
    ("collect 'ETH-*:3h'", 2, f"unknown granularity '3h'; {GRANULARITIES}"),
    ("collect ETH/EUR:1m", 2, f"'ETH/EUR' is not a product; {FORM}"),
    ("collect ETH:1m", 2, f"'ETH' is not a product; {FORM}"),
    ("collect 'XXX-*:1h'", 2, "XXX-*:1h: no product matches; there are BTC-EUR, BTC-USD, "),
    ("collect NOPE-EUR:1h --days 1", 1, "NOPE-EUR:1h: not collected: raw_candles"),
    ("collect ETH-EUR:1h --exclude 'BTC-*'", 2, "'BTC-*': matches none of the series"),
    ("collect ETH-EUR:1h --exclude 'ETH-*'", 2, "--exclude ETH-*: leaves no series"),
    ("collect --from 2024-02-30", 2, f"'2024-02-30' is not a day; {DAYS}"),
    ("collect --from yesterday", 2, f"'yesterday' is not a day; {DAYS}"),
    ("collect --from 31.01.2024", 2, f"'31.01.2024' is not a day; {DAYS}"),
    ("collect --from 2024-13", 2, f"'2024-13' is not a day; {DAYS}"),
    ("collect --from -9999999d", 2, f"'-9999999d' is not a day; {DAYS}"),
    (f"collect --to {FUTURE}", 2, f"--to {FUTURE}: in the future; today is "),
    ("collect --from 2024-01-02 --to 2024-01-01", 2, "2024-01-02: after --to 2024-01-01; swap"),
    ("collect --from 2017-12-31", 2, "--from 2017-12-31: before COINBASE_START=2018-01-01; set"),
    ("collect --to 2017-12-31", 2, "--to 2017-12-31: before COINBASE_START=2018-01-01; set"),
    (
        "collect --days 0",
        2,
        "0 is not in the range 1<=x<=36500; see coinbase-assets collect --h",
    ),
    ("collect --days week", 2, "'week' is not a valid integer range; see coinbase-assets collect"),
    ("collect --days 3 --from 2024", 2, "--days 3 and --from 2024-01-01: give one of them"),
    ("heal --trades", 2, "--trades reads many pages a day; name the days with --from and --to"),
    ("heal ETH-EUR:2m", 2, f"unknown granularity '2m'; {GRANULARITIES}"),
    ("heal --from 2024-01-02 --to 2024-01-01", 2, "after --to 2024-01-01; swap them"),
    ("status ETH-EUR", 2, f"'ETH-EUR': without a granularity; {FORM}"),
    ("status 'XRP-*:1h'", 2, "XRP-*:1h: no product matches; there are ETH-EUR, ..."),
    ("status 'ETH-*:1h'", 2, "ETH-*:1h: nothing like it was collected; there are ETH-EUR:15m"),
    ("list ETH-EUR BTC-USD", 2, "unexpected extra argument (BTC-USD); see coinbase-assets list"),
    ("products --quote", 2, "Option '--quote' requires an argument; see coinbase-assets COMMAND"),
    ("why ETH-EUR:15m", 2, "Missing argument 'TIME'; see coinbase-assets why --help"),
    ("why ETH-EUR:15m noon", 2, "'noon' is not a time; write 2024-01-31T12:00"),
    ("why ETH-EUR:4h 2024-01-01", 2, f"unknown granularity '4h'; {GRANULARITIES}"),
    ("export", 2, "which series? For example: coinbase-assets export ETH-EUR:15m"),
    ("export ETH-EUR:15m --out x.xlsx", 2, f"'x.xlsx': {FORMATS}"),
    ("export ETH-EUR:15m --out candles", 2, f"'candles': {FORMATS}"),
    ("export ETH-EUR:15m --out no/x.csv", 2, "'no/x.csv': there is no folder 'no'; create it"),
    ("export NOPE-EUR:1h", 1, "NOPE-EUR:1h: not in the lake; it holds no history; collect some f"),
    ("export ETH-EUR:15m --fill ffill", 2, "'ffill' is not one of 'previous', 'nan'; see "),
    ("export ETH-EUR:15m --layout freqtrade", 2, "--layout freqtrade: needs --out FILE.feather"),
    ("plot", 2, "which series? For example: coinbase-assets plot ETH-EUR:15m"),
    ("plot ETH-EUR:15m --out a.gif", 2, "'a.gif': unknown format; end the name with .png or"),
    ("plot ETH-EUR:15m --out no/a.png", 2, "'no/a.png': there is no folder 'no'; create it"),
    ("plot ETH-EUR:1h ETH-EUR:15m --out a.png", 2, "--out names a single picture; leave it out"),
    (f"plot ETH-EUR:15m --to {FUTURE}", 2, f"--to {FUTURE}: in the future; today is "),
    ("plot ETH-EUR:15m", 1, "ETH-EUR:15m: not in the lake; it holds no history yet; run collect f"),
    ("query", 2, "Missing argument 'SQL'; see coinbase-assets query --help"),
    ("query 'SELEC 1'", 2, 'Parser Error: syntax error at or near "SELEC"'),
    ("query 'SELECT * FROM candles'", 2, 'candles does not exist! Did you mean "candle_history"?'),
    ("query 'DELETE FROM candle_history'", 2, f"DELETE is not a query: {SELECTS}"),
    ("query \"FROM 'junk.csv'\"", 2, 'Cannot access file "junk.csv" - file system operations are'),
    (
        "dev --port 99999",
        2,
        "99999 is not in the range 1<=x<=65535; see coinbase-assets dev --h",
    ),
    ("alerts test", 2, "COINBASE_ALERT_URLS is not set; set it to a URL, for example mailto://"),
    ("COINBASE_SERIES=ETH-EUR status", 2, f"unknown granularity ''; {GRANULARITIES}"),
    ("COINBASE_SERIE=ETH-EUR:1h status", 2, "COINBASE_SERIE: no such setting; do you mean COI"),
    ("COINBASE_START=2099-01-01 status", 2, "2099-01-01: in the future; give today or an earlier"),
    ("COINBASE_CONTAINER=A status", 2, "COINBASE_CONTAINER=A: not a container name; write 3 to 63"),
    ("COINBASE_API_URL=ftp://x status", 2, "COINBASE_API_URL=ftp://x: not a URL; write https://"),
    ("DAGSTER_HOME=home status", 2, "DAGSTER_HOME=home: not an absolute path; Dagster needs the"),
    (f"COINBASE_API_URL={CLOSED} COINBASE_GIVE_UP_AFTER=1 products", 1, NETWORK),
    (f"{NO_AZURE}x status", 2, "AZURE_STORAGE_CONNECTION_STRING: not a connection string; copy it"),
    (
        f"{NO_AZURE} AZURE_STORAGE_ACCOUNT_URL={CLOSED}/candles AZURE_STORAGE_KEY=aGVsbG8= list",
        1,
        "the storage account cannot be reached",
    ),
]
# Azure's client asks again for 15 seconds.
SLOW = pytest.param(*MISTAKES[-1], marks=pytest.mark.soak)


@pytest.mark.parametrize(("typed", "status", "part"), [*MISTAKES[:-1], SLOW])
def test_mistake_is_one_line_with_remedy(
    new_user: NewUser,
    run_here: RunHere,
    typed: str,
    status: int,
    part: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    words = shlex.split(typed)
    settings = [word for word in words if re.match("[A-Z_]+=", word)]
    user = new_user(**dict(setting.split("=", 1) for setting in settings))
    result = run_here(user, *words[len(settings) :])
    lines = result.stderr.splitlines()
    assert result.returncode == status, result
    assert part in lines[0]
    assert len(lines) <= 2
    assert lines[-1].startswith("Error: ")
    assert list(tmp_path.iterdir()) == []
