"""ccxt: 1m candles of BTC/USD from one UTC day to before another, page by page, as Parquet."""

import sys

import ccxt
import pandas as pd

COLUMNS = ["time", "open", "high", "low", "close", "volume"]
PAGE, MINUTE = 300, 60_000

url, folder, first, last = sys.argv[1:]
exchange = ccxt.coinbaseexchange({"enableRateLimit": True, "urls": {"api": {"public": url}}})
since, end = (exchange.parse8601(f"{day}T00:00:00Z") for day in (first, last))
rows = []
while since < end:
    page = exchange.fetch_ohlcv("BTC/USD", "1m", since=since, limit=PAGE)
    rows += [row for row in page if since <= row[0] < end]
    since += PAGE * MINUTE
candles = pd.DataFrame(rows, columns=COLUMNS)
candles["time"] = pd.to_datetime(candles["time"], unit="ms", utc=True)
candles.drop_duplicates("time").to_parquet(f"{folder}/candles.parquet")
