"""What collecting 1m candles takes by itself: requests, columns, Parquet and puts, nothing else.

Nothing is checked, compared, recorded, retried or limited. Usage: URL CONNECTION CONTAINER MONTHS,
each month as 2024-01.
"""

import asyncio
import io
import json
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import httpx
import pyarrow as pa
import pyarrow.parquet as pq
from azure.storage.blob import BlobServiceClient, ContainerClient

DAY, PAGE = timedelta(days=1), timedelta(minutes=300)
COLUMNS = ("time", "low", "high", "open", "close", "volume")
AT_ONCE = 8


async def pages(client: httpx.AsyncClient, start: datetime, end: datetime) -> AsyncIterator[list]:
    """Yield the rows of each page, in order; some are asked for ahead."""
    starts = [start + number * PAGE for number in range((end - start) // PAGE + 1)]
    asked = [asyncio.ensure_future(page(client, each)) for each in starts[:AT_ONCE]]
    for number in range(len(starts)):
        if number + AT_ONCE < len(starts):
            asked.append(asyncio.ensure_future(page(client, starts[number + AT_ONCE])))
        yield await asked[number]


async def page(client: httpx.AsyncClient, start: datetime) -> list:
    last = start + PAGE - timedelta(minutes=1)
    parameters = {"granularity": "60", "start": f"{start:%FT%TZ}", "end": f"{last:%FT%TZ}"}
    answer = await client.get("/products/BTC-USD/candles", params=parameters)
    return json.loads(answer.text)


def table(rows: list, start: datetime, end: datetime) -> pa.Table:
    first, last = start.timestamp(), end.timestamp()
    kept = sorted(row for row in rows if first <= row[0] < last)
    columns = dict(zip(COLUMNS, zip(*kept, strict=True), strict=True))
    return pa.table(columns)


def put(container: ContainerClient, name: str, content: pa.Table) -> None:
    buffer = io.BytesIO()
    pq.write_table(content, buffer, compression="zstd")
    container.upload_blob(name, buffer.getvalue())


async def collect(url: str, container: ContainerClient, months: list[str]) -> None:
    async with httpx.AsyncClient(base_url=url) as client:
        for month in months:
            start = datetime.strptime(month, "%Y-%m").replace(tzinfo=UTC)
            end = (start + 31 * DAY).replace(day=1)
            await collect_month(client, container, start, end)


async def collect_month(
    client: httpx.AsyncClient, container: ContainerClient, start: datetime, end: datetime
) -> None:
    rows, days = [], []
    async for answered in pages(client, start, end):
        rows += answered
        while start + len(days) * DAY < end and rows and reaches(rows, start + len(days) * DAY):
            day = start + len(days) * DAY
            days.append(table(rows, day, day + DAY))
            rows = [row for row in rows if row[0] >= (day + DAY).timestamp()]
            put(container, f"days/{day:%F}", days[-1])
    history = pa.concat_tables(days)
    put(container, f"months/{start:%Y-%m}", history)
    put(container, f"coverage/{start:%Y-%m}", history.slice(0, 100))


def reaches(rows: list, day: datetime) -> bool:
    return max(row[0] for row in rows[-300:]) >= (day + DAY).timestamp() - 60


def main() -> None:
    url, connection, name, *months = sys.argv[1:]
    with BlobServiceClient.from_connection_string(connection) as service:
        container = service.create_container(name)
        asyncio.run(collect(url, container, months))


main()
