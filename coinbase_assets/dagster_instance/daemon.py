"""The program `python -m coinbase_assets.dagster_instance.daemon`: Dagster's daemon.

It looks at back-fills every 5 seconds. Dagster's own command looks every 30: a back-fill waits for
that before its first run, and again after its last.
"""

from coinbase_assets.dagster_instance.private_daemon_names import controller, main

_BACKFILL_SECONDS = 5


def look_often() -> None:
    """Shorten the interval of back-fills. Dagster's other loops have settings of their own."""
    controller.DEFAULT_DAEMON_INTERVAL_SECONDS = _BACKFILL_SECONDS


if __name__ == "__main__":
    look_often()
    main()
