"""The series that a command is given: as arguments, by --series, with wildcards."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import wraps
from typing import Any

import click

from coinbase_assets.candles.series import Series
from coinbase_assets.candles.series_patterns import expand, parse_patterns, without


@dataclass(frozen=True)
class Selection:
    """The series that were named, and those to leave out, as they were typed."""

    texts: Sequence[str]
    excluded: Sequence[str]

    def series(
        self, default: Sequence[Series], products: Callable[[], Sequence[str]]
    ) -> list[Series]:
        """Return the series; wildcards match `products`, which is called for them alone.

        Raises UsageError.
        """
        try:
            named = expand(parse_patterns(self.texts), products) if self.texts else default
            series = without(named, self.excluded)
        except ValueError as error:
            raise click.UsageError(str(error)) from None
        if not series:
            raise click.UsageError(f"--exclude {' '.join(self.excluded)}: leaves no series")
        return series

    def among(self, configured: Sequence[Series], others: Sequence[Series]) -> list[Series]:
        """Return the series, by default those configured; wildcards match these and the others.

        Raises UsageError.
        """
        known = dict.fromkeys([*configured, *others])
        found = self.series(configured, lambda: sorted({each.product for each in known}))
        plain = {str(each) for each in parse_patterns(self.texts) if not each.has_wildcard}
        series = [each for each in found if each in known or str(each) in plain]
        if not series:
            raise click.UsageError(
                f"{' '.join(self.texts)}: nothing like it was collected; there are"
                f" {', '.join(map(str, known))}"
            )
        return series


def takes_series(command: Callable[..., Any]) -> Callable[..., Any]:
    """Let a command take series; it gets a Selection named `selection`."""

    @click.argument("series", nargs=-1, metavar="[SERIES]...")
    @click.option("--series", "more", multiple=True, metavar="SERIES", help="The same as SERIES.")
    @click.option("--exclude", multiple=True, metavar="PATTERN", help="Leave out, e.g. '*-BTC'.")
    @wraps(command)
    def taking(
        series: Sequence[str], more: Sequence[str], exclude: Sequence[str], **options: Any
    ) -> Any:
        return command(selection=Selection([*series, *more], exclude), **options)

    return taking
