"""The owners and tags of the assets, by which people find them in Dagster's catalogue."""

from collections.abc import Callable, Sequence

import dagster as dg

from coinbase_assets.dagster_instance.deployment import OWN, Deployment

_EVERY_ASSET = {"exchange": "coinbase"}


def add_labels(
    owners: Sequence[str], deployment: Deployment = OWN
) -> Callable[[dg.AssetSpec], dg.AssetSpec]:
    """Return a function that gives assets these owners, and tags such as `granularity=15m`."""

    def add(spec: dg.AssetSpec) -> dg.AssetSpec:
        of_series = _tags_of_series(deployment.dataset_key(spec.key))
        tags = {**spec.tags, **_EVERY_ASSET, **of_series}
        return spec.replace_attributes(tags=tags, owners=owners)

    return add


def _tags_of_series(key: dg.AssetKey) -> dict[str, str]:
    """Return the tags of an asset of a series, whose key is `PRODUCT/GRANULARITY/NAME`."""
    *series, _ = key.path
    return dict(zip(("product", "granularity"), series, strict=False))
