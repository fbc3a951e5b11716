"""The consoles of the commands. They print text as it is, never what markup in it asks for."""

from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.text import Text

from coinbase_assets.environment.secrets import public


class PlainConsole(Console):
    """A console that prints every text in one line, as `public` returns it, whatever its length."""

    def __init__(self, **options: Any) -> None:
        super().__init__(highlight=False, soft_wrap=True, markup=False, emoji=False, **options)

    def print_table(self, headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Print the rows below the headings, in columns as wide as needed."""
        lines = [headings, *rows]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        for line in lines:
            cells = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
            self.print("  ".join(cells).rstrip())

    def render_str(self, text: str, **options: Any) -> Text:
        return Text(public(text, None))


console = PlainConsole()
errors = PlainConsole(stderr=True)
