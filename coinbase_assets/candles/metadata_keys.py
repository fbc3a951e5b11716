"""Keys of metadata that one module writes and another reads. Pure: no Dagster, no I/O."""

# Of an asset check's result: the months in which the check failed, separated by commas.
FAILED_MONTHS = "failed_months"
# Of the products asset: the configured products that the exchange no longer trades.
DELISTED = "delisted"
# Of a ledger's blob: the longest usual time between two candles, in seconds.
USUAL_PAUSE = "usual_pause"
# Of a ledger's blob: the start of its first open interval.
OPEN_FROM = "open_at"
# Of a ledger's blob: the days of the month, as numbers, that are not wholly collected.
NOT_COLLECTED_DAYS = "days_not_collected"
