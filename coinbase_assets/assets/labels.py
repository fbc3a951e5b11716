"""The owners and tags of the assets, by which people find them in Dagster's catalogue."""

from collections.abc import Iterable, Sequence

import dagster as dg

from coinbase_assets.dagster_instance.deployment import OWN, Deployment

_EVERY_ASSET = {"exchange": "coinbase"}


def with_labels(
    assets: Iterable[dg.AssetsDefinition], owners: Sequence[str], deployment: Deployment = OWN
) -> list[dg.AssetsDefinition]:
    """Return the assets with these owners, and tags such as `granularity=15m`."""

    def label(spec: dg.AssetSpec) -> dg.AssetSpec:
        tags = {**spec.tags, **_EVERY_ASSET, **_tags_of_series(deployment.dataset_key(spec.key))}
        return spec.replace_attributes(tags=tags, owners=owners)

    return list(dg.map_asset_specs(label, assets))


def _tags_of_series(key: dg.AssetKey) -> dict[str, str]:
    """Return the tags of an asset of a series, whose key is `PRODUCT/GRANULARITY/NAME`."""
    *series, _ = key.path
    return dict(zip(("product", "granularity"), series, strict=False))
