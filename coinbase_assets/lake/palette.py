"""The colours of the pictures."""

from typing import Final

from coinbase_assets.completeness.ledger import State

# Pictures have their own background, so that they look the same on light and on dark pages.
BACKGROUND = "#fafbfc"
INK, GRID = "#3c434d", "#dfe3e8"
UP, DOWN = "#1f8a70", "#c8435a"
# From the best state to the worst; a day has the colour of its worst bucket.
STATE_COLOURS: Final = {
    State.BEFORE_LISTING: "#c3c8cf",
    State.AFTER_DELISTING: "#959ca6",
    State.TRADED: "#2e8b57",
    State.NO_TRADES: "#9ad0a9",
    State.OPEN: "#6aaed6",
    State.PENDING: "#b7a7d6",
    State.UNPROVABLE: "#8c6bb1",
    State.NOT_COLLECTED: "#f2a33c",
    State.UNCONFIRMED: "#d62728",
}
NO_LEDGER = "#e6e9ed"
