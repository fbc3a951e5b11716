"""From the exchange's answers to raw days in the lake, and the dates of listings."""
