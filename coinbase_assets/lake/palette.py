"""The colours of the pictures."""

from typing import Final

from coinbase_assets.completeness.ledger import State

# Pictures have their own background, so that they look the same on light and on dark pages.
BACKGROUND = "#fafbfc"
INK, GRID = "#3c434d", "#dfe3e8"
UP, DOWN = "#1f8a70", "#c8435a"
# From the best state to the worst; a day has the colour of its worst bucket, in a shade.
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
# Of these states, a day has a shade by the share of the day that is in the state: the colour that
# it is mixed with. All other states colour the whole day.
MIXED_WITH: Final = {
    State.NO_TRADES: STATE_COLOURS[State.TRADED],
    State.PENDING: BACKGROUND,
    State.UNPROVABLE: BACKGROUND,
    State.NOT_COLLECTED: BACKGROUND,
    State.UNCONFIRMED: BACKGROUND,
}
# Up to these shares of a day, how much of the state's colour the shade has. So a minute without
# trades leaves the day green, and a minute in doubt shows.
SHADES: Final = {0.01: 0.4, 0.1: 0.7, 1.0: 1.0}
QUIET_SHADES: Final = {0.01: 0.0, 0.1: 0.5, 1.0: 1.0}
