"""What `dg scaffold defs coinbase_assets.CoinbaseCandlesComponent NAME` writes."""

import dagster as dg

_EXAMPLE = {
    "series": ["ETH-EUR:15m", "BTC-EUR:1h"],
    "rollups": ["4h"],
    "start": "2024-01-01",
    "storage": {
        "connection_string": "{{ env.AZURE_STORAGE_CONNECTION_STRING }}",
        "container": "candles",
    },
}


class CandlesScaffolder(dg.Scaffolder):
    """Writes `defs.yaml` with an example of each field that most projects need."""

    def scaffold(self, request: dg.ScaffoldRequest) -> None:
        dg.scaffold_component(request, _EXAMPLE)
