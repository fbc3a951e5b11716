"""A Dagster project of somebody else, in a folder, with components of ours."""

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml
from dagster.components.testing import DefsFolderSandbox, create_defs_folder_sandbox

TYPE = "coinbase_assets.CoinbaseCandlesComponent"
Attributes = Mapping[str, Any]


@contextmanager
def project(**components: Attributes) -> Iterator[DefsFolderSandbox]:
    """A project with these components, by the names of their folders."""
    with create_defs_folder_sandbox() as sandbox:
        for name, attributes in components.items():
            write_component(sandbox, name, attributes)
        yield sandbox


def write_component(sandbox: DefsFolderSandbox, name: str, attributes: Attributes) -> Path:
    file = sandbox.defs_folder_path / name / "defs.yaml"
    file.parent.mkdir(exist_ok=True)
    file.write_text(yaml.safe_dump({"type": TYPE, "attributes": {**attributes}}, sort_keys=False))
    return file


def load(sandbox: DefsFolderSandbox) -> dg.Definitions:
    with sandbox.build_all_defs() as definitions:
        return definitions


def refresh(sandbox: DefsFolderSandbox, name: str) -> None:
    """Refresh the state of a component, as `dg utils refresh-defs-state` does."""
    with sandbox.build_component_tree() as tree:
        component = tree.load_component(Path(name))
        assert isinstance(component, dg.StateBackedComponent)
        asyncio.run(component.refresh_state(sandbox.project_root))


def keys_of(definitions: dg.Definitions) -> set[str]:
    return {key.to_user_string() for key in definitions.resolve_asset_graph().get_all_asset_keys()}


def error_of(sandbox: DefsFolderSandbox) -> str:
    """Return why the project does not load."""
    with pytest.raises(Exception) as caught:  # noqa: PT011 (Dagster wraps it)
        load(sandbox)
    causes, error = [], caught.value
    while error:
        causes.append(str(error))
        error = error.__cause__  # type: ignore[assignment]
    return causes[-1]
