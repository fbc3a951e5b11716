"""`python -m benchmarks [NAME]... [--runs N]`: all benchmarks, or those named."""

import argparse
from importlib import import_module

from benchmarks.tables import machine

NAMES = [
    *("startup", "light", "commands", "collect", "budget", "backfill", "append", "read", "query"),
    *("memory", "refresh", "sensor", "idle", "environments", "truth", "fuzz"),
]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=" ".join(NAMES))
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args()
    if unknown := set(options.names) - set(NAMES):
        parser.error(f"{', '.join(sorted(unknown))}: unknown; there are {' '.join(NAMES)}")
    print(machine())
    for name in options.names or NAMES:
        import_module(f"benchmarks.{name}").main(options.runs)


if __name__ == "__main__":
    main()
