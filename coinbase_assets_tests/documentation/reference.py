"""The reference pages, made from the code as Markdown: commands, settings, tables."""

import warnings
from collections.abc import Iterator, Mapping
from datetime import date
from inspect import cleandoc

import click
import dagster as dg
from pydantic_core import PydanticUndefined

from coinbase_assets.assets.candle_coverage import build_candle_coverage
from coinbase_assets.assets.market_halts import build_market_halts
from coinbase_assets.assets.products import build_products
from coinbase_assets.candles.series import Series
from coinbase_assets.candles.table import COLUMN_DESCRIPTIONS
from coinbase_assets.cli.main import cli
from coinbase_assets.environment.setting_descriptions import DESCRIPTIONS
from coinbase_assets.lake.tables import TABLES, LakeTable
from coinbase_assets.settings import Settings

PROGRAM = "coinbase-assets"
_ETH = Series.parse("ETH-EUR:15m")
_KEYS = {"month": "month=2024-01", "date": "date=2024-01-31"}
# No asset describes the columns of these tables.
_EVIDENCE = {
    "candle_revisions": {
        "time": COLUMN_DESCRIPTIONS["time"],
        "change": "changed, added or vanished",
        **{
            f"{age}_{name}": f"{text}: {age} value"
            for age in ("old", "new")
            for name, text in COLUMN_DESCRIPTIONS.items()
        },
        "old_fetched_at": "Newest answer that the old value is from, UTC",
        "new_fetched_at": "Newest answer that the new value is from, UTC",
    },
    "proofs": {
        "start": "Start of the gap, UTC",
        "end": "End of the gap, UTC, not included",
        "state": "State that the witness gives the gap",
        "witness": "What proves or contradicts it",
        "as_of": "When the witness was asked, by the exchange's clock",
    },
    "listings": {
        "first_day": "First day of trade; null if it is not known",
        "last_day": "Last day of trade; null if the product is traded",
        "asked_at": "When the exchange was asked",
        "closed_at": "When the exchange answered that the product is not traded any more",
    },
}


def commands() -> str:
    """Return a section for each command, with its usage and its options."""
    return "\n\n".join(_command_sections(cli, click.Context(cli, info_name=PROGRAM)))


def _command_sections(command: click.Command, context: click.Context) -> Iterator[str]:
    usage = command.get_usage(context).removeprefix("Usage: ")
    records = (parameter.get_help_record(context) for parameter in command.get_params(context))
    yield f"## {context.command_path}"
    yield f"```text\n{usage}\n```"
    yield cleandoc(command.help or "")
    rows = [f"| `{names}` | {_cell(text)} |" for names, text in filter(None, records)]
    yield "\n".join(["| option | meaning |", "|---|---|", *rows])
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            if each := command.get_command(context, name):
                yield from _command_sections(each, click.Context(each, context, name))


def settings() -> str:
    """Return the table of settings."""
    rows = [
        f"| `{field.alias}` | {_default(field.get_default())} | {DESCRIPTIONS[str(field.alias)]} |"
        for field in Settings.model_fields.values()
    ]
    return "\n".join(["| variable | default | meaning |", "|---|---|---|", *rows])


def _default(value: object) -> str:
    if value in (None, ()) or value is PydanticUndefined:
        return ""
    return f"`{','.join(map(str, value)) if isinstance(value, tuple) else value}`"


def tables() -> str:
    """Return a section for each table of the lake, with its path and its columns."""
    return "\n\n".join(_table_section(name, table) for name, table in TABLES.items())


def _table_section(name: str, table: LakeTable) -> str:
    texts = _described().get(name, {})
    rows = [
        f"| `{field.name}` | {field.type} | {_cell(texts.get(field.name, ''))} |"
        for field in table.columns
    ]
    keys = "/".join(_KEYS.get(key, f"{key}=...") for key in table.keys)
    return "\n".join(
        [
            f"## {name}\n",
            f"In `{'/'.join(filter(None, [table.prefix.rstrip('/'), keys]))}`.\n",
            "| column | type | meaning |",
            "|---|---|---|",
            *rows,
        ]
    )


def _described() -> Mapping[str, Mapping[str, str]]:
    """Return the description of each column, by table."""
    day = date(2024, 1, 1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.BetaWarning)
        made = {
            "candle_coverage": build_candle_coverage(_ETH, day),
            "market_halts": build_market_halts([_ETH], day),
            "products": build_products([_ETH]),
        }
    candles = dict.fromkeys(("candle_history", "candle_rollup", "raw_candles"), COLUMN_DESCRIPTIONS)
    times = {"candle_revisions": COLUMN_DESCRIPTIONS | _EVIDENCE["candle_revisions"]}
    return (
        {name: _column_texts(asset) for name, asset in made.items()} | candles | _EVIDENCE | times
    )


def _column_texts(asset: dg.AssetsDefinition) -> Mapping[str, str]:
    (spec,) = asset.specs
    schema: dg.TableSchema = spec.metadata["dagster/column_schema"]
    return {column.name: column.description or "" for column in schema.columns}


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
