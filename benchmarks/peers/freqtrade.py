"""freqtrade download-data: 1m candles of BTC/USD from one UTC day to before another, as Feather."""

import json
import sys
from pathlib import Path

from freqtrade.main import main

url, folder, first, end = sys.argv[1:]
config = Path(folder, "config.json")
config.write_text(
    json.dumps(
        {
            "dry_run": True,
            "stake_currency": "USD",
            "user_data_dir": folder,
            "exchange": {
                "name": "coinbaseexchange",
                "pair_whitelist": ["BTC/USD"],
                "ccxt_config": {"urls": {"api": {"public": url}}},
            },
        }
    )
)
span = f"{first.replace('-', '')}-{end.replace('-', '')}"
main(["download-data", "--config", str(config), "--timeframes", "1m", "--timerange", span])
