"""What each setting means, by the name of its variable. The documentation shows it."""

from collections.abc import Mapping

DESCRIPTIONS: Mapping[str, str] = {
    "COINBASE_SERIES": (
        "Series to follow: comma-separated `PRODUCT:GRANULARITY`; granularities `1m 5m 15m 1h "
        "6h 1d`. A product may have the wildcards `*` and `?`: `BTC-*:1h`"
    ),
    "COINBASE_SHARD": (
        "Of several deployments behind different addresses, with one lake: `1/3` is the first of "
        "three. It collects the products in `COINBASE_SERIES` that fall to it, and makes their "
        "rollups"
    ),
    "COINBASE_ROLLUPS": (
        "Longer candles to store: `ETH-EUR:1m>5m,1h,4h;BTC-USD:1m>1d`; granularities `5m 15m "
        "30m 1h 2h 4h 6h 12h 1d 1w`"
    ),
    "DAGSTER_HOME": (
        "Folder of the Dagster instance, an absolute path; by default `.dagster` beside the README"
    ),
    "COINBASE_START": (
        "First day with a partition, UTC; by default the first day collected. Earlier days that "
        "are stored stay, and are read"
    ),
    "COINBASE_CONTAINER": "Blob container, created if it is missing",
    "COINBASE_API_URL": "The exchange, or a stand-in",
    "COINBASE_REQUESTS_PER_SECOND": (
        "Request budget of this IP address; the same for all who share it"
    ),
    "COINBASE_BUDGET_URL": (
        "Keeps the budget for several machines or containers behind one address: "
        "`redis://HOST`, or `postgresql://USER:PASSWORD@HOST/DATABASE`, where a table "
        "`request_lanes` is made; by default a file in `DAGSTER_HOME`. Without `make`, install "
        "the extra `[redis]` or `[postgres]`"
    ),
    "DAGSTER_POSTGRES_URL": (
        "Database of Dagster's records, if `coinbase-assets init --postgres` made the instance: "
        "`postgresql://USER:PASSWORD@HOST/DATABASE`. Needs the extra `[server]`"
    ),
    "COINBASE_GIVE_UP_AFTER": "Seconds after which a request that keeps failing is given up",
    "COINBASE_FRESHNESS_WARN": (
        "Time without news after which a series is late: `90s`, `45m`, `2h`; by default by its "
        "granularity"
    ),
    "COINBASE_FRESHNESS_FAIL": (
        "Time without news after which a series is stale; by default by its granularity"
    ),
    "AZURE_STORAGE_CONNECTION_STRING": (
        "Storage account, as every Azure tool reads it, `UseDevelopmentStorage=true` included"
    ),
    "AZURE_STORAGE_ACCOUNT_URL": (
        "Storage account in place of a connection string, with `AZURE_STORAGE_KEY`, "
        "`AZURE_STORAGE_SAS_TOKEN`, or neither for DefaultAzureCredential"
    ),
    "AZURE_STORAGE_KEY": "Key of the storage account",
    "AZURE_STORAGE_SAS_TOKEN": "Shared access signature for the account or the container",
    "COINBASE_ALERT_URLS": (
        "Where alerts go: comma-separated [apprise "
        "URLs](https://github.com/caronc/apprise/wiki), such as `mailto://USER:PASSWORD@HOST`; "
        "`coinbase-assets alerts test` tries them"
    ),
    "COINBASE_HEARTBEAT_URL": (
        "Called every half minute while all is watched, for a watchdog elsewhere that misses "
        "the calls"
    ),
    "COINBASE_WEB_HOSTS": (
        "Comma-separated host names at which a reverse proxy serves the web UI of `make dev`"
    ),
    "COINBASE_WEB_URL": (
        "Address of the web UI, for the links in alerts: `https://candles.example.com`; by "
        "default that of `make dev`"
    ),
    "COINBASE_OWNERS": (
        "Who owns the assets in Dagster's catalogue: comma-separated email addresses or `team:NAME`"
    ),
}
