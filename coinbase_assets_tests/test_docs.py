"""Everything that the README and docs/ show is run, or says why not; every link leads somewhere."""

import io
import json
import os
import re
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator, Mapping
from contextlib import redirect_stdout
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import click
import pytest

from coinbase_assets.candles.series import Granularity, RollupGranularity
from coinbase_assets.cli.main import cli
from coinbase_assets.environment.setting_descriptions import DESCRIPTIONS
from coinbase_assets.lake.tables import TABLES
from coinbase_assets.monitoring.kinds import TROUBLE, Kind
from coinbase_assets.monitoring.metrics import Facts, metrics_text
from coinbase_assets.settings import Settings
from coinbase_assets_tests.cli.users import exit_status
from coinbase_assets_tests.documentation import reference
from coinbase_assets_tests.documentation.snippets import (
    ShellCommand,
    Snippet,
    pages,
    shell_commands,
    snippets,
)
from coinbase_assets_tests.processes import PROJECT, process_environment, quiet_instance
from coinbase_assets_tests.stand_in.azurite import AZURITE_KEY
from coinbase_assets_tests.stand_in.exchange import StandInExchange
from coinbase_assets_tests.stand_in.markets import synthetic_markets

PROGRAM = "coinbase-assets"
ROOT_PAGES = [PROJECT / name for name in ("CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md")]
# Why blocks are not run.
REASONS = {
    "make installs packages and starts servers",
    "needs Dagster+",
    "needs a deployment to upgrade",
    "needs Docker",
    "needs a cluster",
    "needs Spark and an Azure account",
    "needs an Azure account",
    "needs an Azure account and a browser",
    "needs an Azurite on port 10000",
    "needs ccxt and the internet",
    "opens a window",
    "runs until Ctrl-C",
    "sends messages to a chat and a mailbox",
    "starts servers",
}
OTHER_LANGUAGES = {"text", "nginx", "yaml"}
FIRST, MIDDLE, TODAY = (f"{datetime.now(UTC).date() - timedelta(days=days)}" for days in (3, 2, 0))
# Snippets show ranges of weeks to years. Here they run over the days that the fixture collects.
DAYS = {
    "2026-11-01|2024-01-01": FIRST,
    "2026-11-02|2024-01-02": MIDDLE,
    "2024-01-0[37]|2024-03-31": MIDDLE,
    "2026-11-08|2024-02-01": TODAY,
    "--from 2026-11 |--from 2024-01 --to 2024-12 ": f"--from {FIRST} ",
    # Until a settled day, since these are collected already.
    r"--days \d+|--from -7d": f"--from {FIRST} --to {MIDDLE}",
    r"--from -3d": f"--from {FIRST}",
}
COLLECTED = ("ETH-EUR:15m", "BTC-USD:1h", "--from", FIRST)
PRODUCTS = ("BTC-USD", "BTC-USDT", "ETH-BTC", "ETH-EUR")
NOTHING_READ = Facts(datetime.now(UTC), [], [], {}, {}, None)
SNIPPETS = [snippet for page in pages() for snippet in snippets(page)]


@dataclass(frozen=True)
class Reader:
    """Somebody who has collected what the snippets read, and what they have run in `folder`."""

    environment: Mapping[str, str]
    folder: Path
    done: set[tuple[str | None, ...]]


@pytest.fixture(scope="module")
def reader(azurite: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    handler = signal.getsignal(signal.SIGTERM)
    markets = synthetic_markets(PRODUCTS)
    with (
        StandInExchange(rate=None, markets=markets) as exchange,
        pytest.MonkeyPatch.context() as patch,
    ):
        environment = process_environment(
            quiet_instance(tmp_path_factory.mktemp("reader") / "dagster"),
            COINBASE_API_URL=exchange.url,
            COINBASE_REQUESTS_PER_SECOND="1000",
            COINBASE_CONTAINER=f"test-{uuid.uuid4().hex}",
            AZURE_STORAGE_CONNECTION_STRING=azurite,
        )
        for name, value in environment.items():
            patch.setenv(name, value)
        patch.setattr("sys.argv", [PROGRAM, "collect", *COLLECTED])
        assert exit_status() == 0
        yield Reader(environment, tmp_path_factory.mktemp("work"), set())
    signal.signal(signal.SIGTERM, handler)


# Snippets


@pytest.mark.parametrize("page", sorted({each.page for each in SNIPPETS if not each.reason}))
def test_page_snippets_run(page: str, reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in reader.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(reader.folder)
    names: dict[str, Any] = {}
    for snippet in SNIPPETS:
        if snippet.page != page or snippet.reason or snippet.language in OTHER_LANGUAGES:
            continue
        text = snippet.text
        for shown, run in DAYS.items():
            text = re.sub(shown, run, text)
        if snippet.language == "sh":
            for command in shell_commands(text):
                _run_shell(command, snippet, reader, monkeypatch)
        else:
            _run_python(text, snippet, names, reader.environment["COINBASE_CONTAINER"])


def _run_shell(
    command: ShellCommand, snippet: Snippet, reader: Reader, patch: pytest.MonkeyPatch
) -> None:
    program, *arguments = command.words
    if program == "export":
        for setting in arguments:
            patch.setenv(*setting.split("=", 1))
        return
    assert program == PROGRAM, f"{snippet}: `{program}` cannot be run here; mark the block"
    # The same command on another page shows nothing new.
    settings = map(os.environ.get, ("COINBASE_SERIES", "COINBASE_ROLLUPS"))
    if (run := (*settings, *arguments, command.rest)) in reader.done:
        return
    reader.done.add(run)
    patch.setattr("sys.argv", [PROGRAM, *arguments])
    with redirect_stdout(io.TextIOWrapper(io.BytesIO())) as output:
        status = exit_status()
    output.flush()
    assert status in ({0, 1} if command.may_be_1 else {0}), f"{snippet}: {arguments}"
    if command.rest and (not command.rest.startswith("||") or status):
        source = "cat " if command.rest[:2] != "||" else "false "
        script = f"{source}{command.rest}"
        written = output.buffer.getvalue()
        subprocess.run(["sh", "-c", script], input=written, check=True)


def _run_python(text: str, snippet: Snippet, names: dict[str, Any], container: str) -> None:
    """Execute the block, with the account of the test in place of the one that it names."""
    account = dict(
        part.split("=", 1)
        for part in os.environ["AZURE_STORAGE_CONNECTION_STRING"].strip(";").split(";")
    )
    for shown, run in {
        "coinbasedata": container,
        "https://ACCOUNT.blob.core.windows.net": account["BlobEndpoint"],
        "account_url=account": f"account_url=account, account_key={AZURITE_KEY!r}",
    }.items():
        text = text.replace(shown, run)
    with pytest.MonkeyPatch.context() as patch:
        if "storage_options" in text:
            # Polars reads these; our own settings refuse a key beside a connection string.
            patch.delenv("AZURE_STORAGE_CONNECTION_STRING")
            patch.setenv("ACCOUNT", account["AccountName"])
            patch.setenv("AZURE_STORAGE_KEY", AZURITE_KEY)
            patch.setenv("AZURE_ENDPOINT", account["BlobEndpoint"])
            patch.setenv("AZURE_ALLOW_HTTP", "true")
        exec(compile(text, str(snippet), "exec"), names)


@pytest.mark.soak
def test_notebook_cells_run(
    reader: Reader, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in {**reader.environment, "MPLBACKEND": "agg"}.items():
        monkeypatch.setenv(name, value)
    programs = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    monkeypatch.setenv("PATH", programs)
    monkeypatch.chdir(reader.folder)
    cells = json.loads((PROJECT / "docs" / "notebook.ipynb").read_text())["cells"]
    names: dict[str, Any] = {}
    for number, cell in enumerate(cells, 1):
        assert not cell.get("outputs"), f"cell {number}: clear the output"
        if cell["cell_type"] == "code":
            exec(compile("".join(cell["source"]), f"cell {number}", "exec"), names)
    assert len(names["collected"]) >= 3
    assert f"hours: {len(names['hours'])}" in capsys.readouterr().out
    names["plt"].close("all")


@pytest.mark.parametrize("snippet", [each for each in SNIPPETS if each.reason], ids=str)
def test_snippet_that_is_not_run_has_known_reason(snippet: Snippet) -> None:
    assert snippet.reason in REASONS
    targets = re.findall(r"^make ([\w-]+)", snippet.text, re.MULTILINE)
    if targets:
        subprocess.run(["make", "--dry-run", *targets], cwd=PROJECT, check=True)
    pytest.skip(snippet.reason)


def test_every_block_has_known_language() -> None:
    odd = [each for each in SNIPPETS if each.language not in {"sh", "python", *OTHER_LANGUAGES}]
    assert not odd


# Commands, options and targets


def _parameters(words: list[str]) -> tuple[set[str], list[str]]:
    """Return the options that a command line may have, and the words after its commands."""
    command, known = cli, {"--help"}
    while isinstance(command, click.Group):
        known |= {option for parameter in command.params for option in parameter.opts}
        if not words or words[0].startswith("-"):
            break
        name, *words = words
        assert name in command.commands, f"no command {name!r}"
        command = command.commands[name]  # type: ignore[assignment]
    return known | {option for each in command.params for option in each.opts}, words


def _command_lines(text: str) -> Iterator[list[str]]:
    """Yield what follows the program's name, in blocks and in the text."""
    blocks = re.findall(r"^```sh.*?^```", text, re.MULTILINE | re.DOTALL)
    code = [line for block in blocks for line in block.splitlines()]
    for piece in [*code, *re.findall(r"`([^`\n]+)`", text)]:
        for rest in re.findall(rf"\b{PROGRAM} ([^|;#]*)", piece):
            yield rest.split()


@pytest.mark.parametrize("page", [*pages(), *ROOT_PAGES[:2]], ids=lambda page: page.name)
def test_documented_commands_and_options_exist(page: Path) -> None:
    for words in _command_lines(page.read_text()):
        if words == ["COMMAND", "--help"]:
            continue
        known, rest = _parameters(words)
        typed = {word.split("=")[0] for word in rest if re.match("--?[a-z]", word)}
        assert {word for word in typed if not re.fullmatch(r"-\dd", word)} <= known, words


def test_guides_show_every_command() -> None:
    shown = {words[0] for page in pages() for words in _command_lines(page.read_text()) if words}
    assert cli.commands.keys() <= shown


def test_reference_has_every_command_and_option() -> None:
    text = reference.commands()
    for name, command in cli.commands.items():
        section = text.split(f"## {PROGRAM} {name}\n")[1].split(f"\n## {PROGRAM}")[0]
        for parameter in command.params:
            if isinstance(parameter, click.Option):
                assert parameter.opts[0] in section, (name, parameter.opts)


def test_reference_has_every_setting_and_granularity() -> None:
    names = {str(field.alias) for field in Settings.model_fields.values()}
    assert DESCRIPTIONS.keys() == names
    text = reference.settings()
    assert all(f"`{name}`" in text for name in names)
    for granularities in (Granularity, RollupGranularity):
        assert f"granularities `{' '.join(granularities)}`" in text


def test_reference_has_every_column() -> None:
    sections = reference.tables()
    for name, table in TABLES.items():
        section = sections.split(f"## {name}\n")[1].split("\n## ")[0]
        rows = re.findall(r"^\| `(\w+)` \| [^|]+ \| .+ \|$", section, re.MULTILINE)
        assert rows == table.columns.names


def test_runbook_explains_every_alert_and_metric() -> None:
    text = (PROJECT / "docs" / "runbook.md").read_text()
    for kind in Kind:
        assert f"\n### {kind}: {TROUBLE[kind]}\n" in text
    names = re.findall(r"^# HELP (\w+)", metrics_text(NOTHING_READ, datetime.now(UTC)), re.M)
    assert len(names) == 12
    assert {name for name in names if f"| `{name}` |" not in text} == set()


def test_make_has_every_documented_target() -> None:
    text = "".join(page.read_text() for page in [*pages(), *ROOT_PAGES])
    targets = set(re.findall(r"(?:^|`)make ([\w-]+)", text, re.MULTILINE))
    assert {"run", "dev", "demo", "test", "docs"} <= targets
    subprocess.run(["make", "--dry-run", *targets], cwd=PROJECT, check=True)


# Links


@pytest.mark.parametrize(
    "page", [*pages(), *ROOT_PAGES], ids=lambda page: str(page.relative_to(PROJECT))
)
def test_links_lead_to_files_and_headings(page: Path) -> None:
    text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if "://" in link:
            continue
        path, _, heading = unquote(link).partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.is_relative_to(PROJECT)
        assert target.exists(), link
        if heading:
            assert heading in _headings(target), link


def _headings(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub and the site make them."""
    lines = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", line.lower()).replace(" ", "-") for line in lines}


def test_readme_is_short() -> None:
    assert len((PROJECT / "README.md").read_text().splitlines()) <= 120


def test_pictures_are_small() -> None:
    pictures = list((PROJECT / "docs").rglob("*.png"))
    assert pictures
    assert all(picture.stat().st_size <= 200_000 for picture in pictures)
