"""Secrets of the storage account: in no event, log, error or repr."""

import base64
import traceback
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import unquote

import dagster as dg
import pytest
from azure.storage.blob import (
    AccountSasPermissions,
    ResourceTypes,
    generate_account_sas,
)
from dagster_azure.blob import (
    AzureBlobStorageKeyCredential,
    AzureBlobStorageResource,
)

from coinbase_assets.dagster_instance.deployment import SILENT
from coinbase_assets.storage.errors import StorageError
from coinbase_assets.storage.io_manager import AzureParquetIOManager
from coinbase_assets.storage.parquet_store import ParquetStore
from coinbase_assets.storage.resource import AzureStorageResource
from coinbase_assets_tests.stand_in.azurite import AZURITE_KEY
from coinbase_assets_tests.storage.prices import FIRST, SECOND, TABLE, Runner, lake_of, prices

SECRET = "LAKE_SECRET"


@dataclass
class Credential:
    """A storage resource, the secret's right and refused values, and the texts to hide."""

    storage: dg.ConfigurableResource
    right: str
    refused: str
    hidden: list[str]


@pytest.fixture
def credentials(lake: ParquetStore, connection_string: str) -> list[Credential]:
    url, secret = lake.container_uri.rpartition("/")[0], dg.EnvVar(SECRET)
    wrong = base64.b64encode(b"a key, but not that of this account").decode()
    wrong_string = connection_string.replace(AZURITE_KEY, wrong)
    right_sas, late_sas = account_sas(hours=1), account_sas(hours=-1)
    signatures = [sas.partition("sig=")[2] for sas in (right_sas, late_sas)]
    by_text = AzureStorageResource(connection_string=secret)
    by_key = AzureStorageResource(account_url=url, account_key=secret)
    by_sas = AzureStorageResource(account_url=url, sas_token=secret)
    return [
        Credential(by_text, connection_string, wrong_string, [AZURITE_KEY, wrong]),
        Credential(by_key, AZURITE_KEY, wrong, [AZURITE_KEY, wrong]),
        Credential(by_sas, right_sas, late_sas, [*signatures, *map(unquote, signatures)]),
    ]


def account_sas(hours: int) -> str:
    return generate_account_sas(
        "devstoreaccount1",
        AZURITE_KEY,
        ResourceTypes(container=True, object=True),
        AccountSasPermissions(read=True, write=True, list=True, create=True),
        expiry=datetime.now(UTC) + timedelta(hours=hours),
    )


def assert_hidden(hidden: list[str], texts: list[str]) -> None:
    for secret in hidden:
        assert len(secret) > 40
        assert not [text for text in texts if secret in text]


@pytest.mark.both_addresses
def test_secret_is_in_no_event_log_or_error(
    credentials: list[Credential],
    instance: dg.DagsterInstance,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO")
    shown = []
    for credential in credentials:
        run, asset = Runner(lake_of(credential.storage), instance), prices(lambda context: TABLE)
        monkeypatch.setenv(SECRET, credential.right)
        run(asset, keys=FIRST)
        monkeypatch.setenv(SECRET, credential.refused)
        with pytest.raises(StorageError) as raised:
            run(asset, keys=SECOND)
        shown += traceback.format_exception(raised.value)
    events = [
        str(entry) for run_id in instance.get_run_ids() for entry in instance.all_logs(run_id)
    ]
    files = [path.read_bytes().decode("latin-1") for path in tmp_path.rglob("*") if path.is_file()]
    shown += [*events, *files, *capfd.readouterr(), caplog.text]
    assert len(instance.get_run_ids()) == 6
    for texts in (events, files):
        assert any("STEP_FAILURE" in text for text in texts)
        assert any("StorageError" in text for text in texts)
    for credential in credentials:
        assert_hidden(credential.hidden, shown)


def test_secret_is_in_no_repr(
    credentials: list[Credential], monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[str] = []

    def show(*things: object) -> None:
        shown.extend(text for thing in things for text in (repr(thing), str(thing)))

    @dg.asset
    def shows(lake: dg.ResourceParam[AzureParquetIOManager]) -> None:
        show(lake, lake.storage, lake.store)

    for credential in credentials:
        monkeypatch.setenv(SECRET, credential.right)
        io_manager = lake_of(credential.storage)
        definitions = dg.Definitions([shows], resources={"lake": io_manager})
        show(io_manager, io_manager.storage, definitions, definitions.get_repository_def())
        definitions.resolve_implicit_global_asset_job_def().execute_in_process(run_config=SILENT)
    assert len(shown) == 3 * 14
    for credential in credentials:
        assert_hidden(credential.hidden, shown)


def test_secret_of_other_resource_is_in_no_repr(lake: ParquetStore) -> None:
    """The repr of dagster-azure's own resource shows its credential."""
    key = AzureBlobStorageKeyCredential(key=AZURITE_KEY)
    io_manager = lake_of(AzureBlobStorageResource(account_url=lake.container_uri, credential=key))
    assert_hidden([AZURITE_KEY], [repr(io_manager), str(io_manager)])
