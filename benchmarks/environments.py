"""A day collected in odd environments: it works, or ends with one line, never with a traceback.

Each runs in a copy of the project, against the stand-in exchange. Other users and full disks need
root on Linux; for another user these environments are skipped, and the table says so.
"""

import os
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

from benchmarks.processes import COMMAND, azurite
from coinbase_assets_tests.processes import PROJECT, process_environment
from coinbase_assets_tests.stand_in.exchange import StandInExchange

_NOON = datetime(2024, 1, 5, 12, tzinfo=UTC)
_COLLECT = "collect --from 2024-01-01 --to 2024-01-01"
_PLOT = "--series ETH-EUR:15m --out picture.png"
_SECONDS = 120
_SYMPTOMS = ("Traceback (most recent call last)", "Exception ignored", "core dumped", "terminate")


@dataclass(frozen=True)
class Environment:
    """How one environment differs: its variables (None: unset), its folder, its shell command.

    In the command, `$run` is the project's command; it is run in the checkout. `mounts` is a
    command that changes what is mounted, for this environment alone.
    """

    name: str
    variables: Mapping[str, str | None] = field(default_factory=dict)
    prepare: Callable[[Path], object] = lambda checkout: None
    shell: str = f"$run {_COLLECT}"
    mounts: str = ""
    needs_root: bool = False


def _env_file(content: bytes) -> Callable[[Path], object]:
    return lambda checkout: (checkout / ".env").write_bytes(content)


_PROXY = "http://me:geheim@127.0.0.1:9"
_STORAGE = "AZURE_STORAGE_CONNECTION_STRING"
_SETTING = "COINBASE_REQUESTS_PER_SECOND=900\n"
_UNSET: dict[str, str | None] = {"COINBASE_REQUESTS_PER_SECOND": None}
_EMBEDDED: dict[str, str | None] = {_STORAGE: None}
_DEV = "timeout -s INT 60 $run dev --port 3999"
_UTF16 = _SETTING.encode("utf-16")

# Another user, who has no name and no home, and may read all files, but writes only to their own.
_NOBODY = (
    "setpriv --reuid=54321 --regid=54321 --clear-groups"
    " --inh-caps=-all,+dac_read_search --ambient-caps=+dac_read_search env -u HOME"
)
_READ_ONLY = 'mount --bind -o ro . . && cd "$PWD"'

ENVIRONMENTS = [
    Environment("nothing odd"),
    Environment("HTTP_PROXY without NO_PROXY", {"HTTP_PROXY": _PROXY}),
    Environment("ALL_PROXY of SOCKS", {"ALL_PROXY": "socks5h://127.0.0.1:9"}),
    Environment("HTTPS_PROXY of an unknown kind", {"HTTPS_PROXY": "quux://me:geheim@proxy:1"}),
    Environment("HTTP_PROXY with a wrong port", {"HTTP_PROXY": "http://me:geheim@proxy:port"}),
    Environment("NO_PROXY with IPv6", {"HTTP_PROXY": _PROXY, "NO_PROXY": "[::1],fe80::/10"}),
    Environment("SSL_CERT_FILE missing", {"SSL_CERT_FILE": "/no/such/file.pem"}),
    Environment("SSL_CERT_DIR missing", {"SSL_CERT_DIR": "/no/such/folder"}),
    Environment(
        "REQUESTS_CA_BUNDLE without certificates", {"REQUESTS_CA_BUNDLE": "pyproject.toml"}
    ),
    Environment(".env with a mark of UTF-8", _UNSET, _env_file(_SETTING.encode("utf-8-sig"))),
    Environment(".env in UTF-16", _UNSET, _env_file(_UTF16)),
    Environment(
        ".env in UTF-16, used by dev", _UNSET, _env_file(_UTF16), "timeout -s INT 60 $run dev"
    ),
    Environment(".env in Latin-1", prepare=_env_file("#1\nX=\u00e9\n".encode("latin-1"))),
    Environment(".env with a NUL byte", prepare=_env_file(b"#1\n#2\nX=\0\n")),
    Environment(".env with an open quote", prepare=_env_file(b"X='geheim\n")),
    Environment(".env with CRLF, export", _UNSET, _env_file(b"export " + _SETTING.encode())),
    Environment(".env is a folder", prepare=lambda checkout: (checkout / ".env").mkdir()),
    Environment(".env is a broken link", prepare=lambda c: (c / ".env").symlink_to("gone")),
    Environment("a setting with CR", {"COINBASE_SERIES": "ETH-EUR:15m\r"}),
    Environment("a setting in quotes", {"COINBASE_SERIES": '"ETH-EUR:15m"'}),
    Environment("a setting that is not UTF-8", {"COINBASE_SERIES": "ETH-EUR:15m\udcff"}),
    Environment("a secret that is not UTF-8", {_STORAGE: "AccountName=a;AccountKey=\udcff"}),
    Environment("a secret that is not base64", {_STORAGE: "AccountName=a;AccountKey=geheim"}),
    Environment("no HOME", {"HOME": None}),
    Environment("no HOME, embedded Azurite", {"HOME": None, **_EMBEDDED}, shell="$run status"),
    Environment(
        "HOME is a file, embedded", {"HOME": "/dev/null", **_EMBEDDED}, shell="$run status"
    ),
    Environment("DAGSTER_HOME with spaces", {"DAGSTER_HOME": "{checkout}/a folder, \u00fc"}),
    Environment("DAGSTER_HOME not UTF-8", {"DAGSTER_HOME": "{checkout}/\udcff"}),
    Environment("DAGSTER_HOME relative", {"DAGSTER_HOME": "dagster"}),
    Environment("DAGSTER_HOME is a file", {"DAGSTER_HOME": "{checkout}/pyproject.toml"}),
    Environment(
        "DAGSTER_HOME on a read-only disk",
        {"DAGSTER_HOME": "{checkout}/home"},
        mounts="mkdir home && mount -t tmpfs -o ro none home",
    ),
    Environment(
        "DAGSTER_HOME on a full disk",
        {"DAGSTER_HOME": "{checkout}/home"},
        mounts="mkdir home && mount -t tmpfs -o size=64k none home",
    ),
    Environment(
        "DAGSTER_HOME on a disk that fills up",
        {"DAGSTER_HOME": "{checkout}/home"},
        mounts="mkdir home && mount -t tmpfs -o size=1500k none home",
    ),
    Environment("read-only checkout", mounts=_READ_ONLY),
    Environment(
        "read-only checkout, embedded Azurite",
        _EMBEDDED,
        shell="$run status",
        mounts=_READ_ONLY,
    ),
    Environment("checkout of another user", shell=f"{_NOBODY} $run {_COLLECT}", needs_root=True),
    Environment(
        "checkout of another user, embedded Azurite",
        _EMBEDDED,
        shell=f"{_NOBODY} $run status",
        needs_root=True,
    ),
    Environment(
        "a user without a name and a home",
        shell=f"chmod -R a+rwX . && {_NOBODY} $run {_COLLECT}",
        needs_root=True,
    ),
    Environment(
        "a user without a name and a home, plot",
        shell=f"chmod -R a+rwX . && $run {_COLLECT} && {_NOBODY} $run plot {_PLOT}",
        needs_root=True,
    ),
    Environment(
        "embedded Azurite on a full disk",
        _EMBEDDED,
        mounts="mkdir .azurite && mount -t tmpfs -o size=16k none .azurite",
    ),
    Environment("umask 077", shell=f"umask 077; $run {_COLLECT}"),
    Environment("umask 777", {"DAGSTER_HOME": None}, shell=f"umask 777; $run {_COLLECT}"),
    Environment("TMPDIR missing", {"TMPDIR": "/no/such/folder"}),
    Environment(
        "LC_ALL=C, no UTF-8", {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    ),
    Environment("PYTHONIOENCODING=ascii", {"PYTHONIOENCODING": "ascii"}),
    Environment("TZ unknown", {"TZ": "Mars/Olympus"}),
    Environment("PYTHONWARNINGS=error", {"PYTHONWARNINGS": "error"}),
    Environment("PYTHONOPTIMIZE=2", {"PYTHONOPTIMIZE": "2"}),
    Environment(
        "PYTHONSAFEPATH, no bytecode", {"PYTHONSAFEPATH": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    ),
    Environment("no PATH", {"PATH": None}),
    Environment("standard input closed", shell=f"$run {_COLLECT} <&-"),
    Environment("standard output closed", shell=f"$run {_COLLECT} >&-"),
    Environment("standard error closed", shell="$run status 2>&-"),
    Environment("standard output full", shell="$run status >/dev/full"),
    Environment("standard output a broken pipe", shell="{ $run status; echo $? >&2; } | true"),
    Environment("no terminal", shell=f"setsid -w $run {_COLLECT}"),
    Environment("TERM=dumb, COLUMNS=1", {"TERM": "dumb", "COLUMNS": "1", "FORCE_COLOR": "1"}),
    Environment("COLUMNS no number", {"COLUMNS": "wide", "LINES": "-1"}),
    Environment("folder deleted", shell=f"mkdir gone && cd gone && rmdir ../gone; $run {_COLLECT}"),
    Environment("64 open files", shell=f"ulimit -n 64; $run {_COLLECT}"),
    Environment("files of at most 64 KiB", shell=f"ulimit -f 128; $run {_COLLECT}"),
    Environment("AZURITE_ACCOUNTS of others", {"AZURITE_ACCOUNTS": "a:Yg==", "AZURITE_DB": "x"}),
]


def main(runs: int) -> None:
    """Print a table with a row for each environment. `runs` is not used."""
    del runs
    print("\n| environment | exit status | last line | traceback |\n|---|---|---|---|")
    with (
        tempfile.TemporaryDirectory() as folder,
        azurite(Path(folder)) as storage,
        StandInExchange(rate=None, clock=_NOON.timestamp) as exchange,
    ):
        usual = {
            _STORAGE: storage,
            "COINBASE_API_URL": exchange.url,
            "COINBASE_REQUESTS_PER_SECOND": "1000",
            "COINBASE_GIVE_UP_AFTER": "5",
        }
        for number, environment in enumerate(ENVIRONMENTS):
            _print_row(environment, Path(folder) / str(number), usual)


def _print_row(environment: Environment, checkout: Path, usual: Mapping[str, str]) -> None:
    if os.geteuid() and (environment.mounts or environment.needs_root):
        print(f"| {environment.name} | | skipped: needs root | |", flush=True)
        return
    _copy_project(checkout)
    environment.prepare(checkout)
    command = environment.shell.replace("$run", shlex.quote(COMMAND))
    if environment.mounts:
        script = f"{environment.mounts} && {command}"
        command = f"unshare --mount sh -c {shlex.quote(script)}"
    done = subprocess.run(
        ["/bin/sh", "-c", command],
        env=_variables(environment, checkout, usual),
        cwd=checkout,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        timeout=_SECONDS,
        check=False,
    )
    said = done.stdout.decode(errors="replace")
    traceback = "yes" if any(symptom in said for symptom in _SYMPTOMS) else "no"
    last = said.strip().splitlines()[-1] if said.strip() else ""
    last = last.replace(str(checkout), "CHECKOUT").replace("|", "\\|")[:180]
    print(f"| {environment.name} | {done.returncode} | {last} | {traceback} |", flush=True)


def _copy_project(checkout: Path) -> None:
    shutil.copytree(PROJECT / "coinbase_assets", checkout / "coinbase_assets")
    shutil.copy(PROJECT / "pyproject.toml", checkout)


def _variables(
    environment: Environment, checkout: Path, usual: Mapping[str, str]
) -> dict[str, str]:
    kept = process_environment(checkout / ".dagster", **usual)
    variables = {
        **kept,
        "COINBASE_CONTAINER": f"test-{uuid4().hex}",
        "PYTHONPATH": str(checkout),
        **environment.variables,
    }
    return {
        name: value.replace("{checkout}", str(checkout))
        for name, value in variables.items()
        if value is not None
    }
