"""Gives assets the keys, groups, tags, owners, descriptions and kinds that their users want."""

from collections.abc import Iterable, Mapping

import dagster as dg

from coinbase_assets.candles.datasets import MARKET_HALTS, PRODUCTS, dataset_of
from coinbase_assets.components.candle_options import CandleAsset, Translation
from coinbase_assets.dagster_instance.deployment import Deployment

_SHARED = {dataset.name: dataset for dataset in (MARKET_HALTS, PRODUCTS)}


def translated_keys(
    assets: Iterable[dg.AssetsDefinition], translation: Translation | None
) -> Mapping[dg.AssetKey, dg.AssetKey]:
    """Return the wanted keys of the assets, by their keys in the datasets."""
    specs = (spec for asset in assets for spec in asset.specs)
    return {spec.key: _translate(spec, spec.key, translation).key for spec in specs}


def with_translation(
    assets: Iterable[dg.AssetsDefinition],
    translation: Translation | None,
    deployment: Deployment,
) -> list[dg.AssetsDefinition]:
    """Return the assets, which have their wanted keys already, with all wanted attributes."""

    def translate(spec: dg.AssetSpec) -> dg.AssetSpec:
        plain = deployment.dataset_key(spec.key)
        wanted = _translate(spec.replace_attributes(key=plain), plain, translation)
        return wanted.replace_attributes(key=spec.key, deps=spec.deps)

    return list(dg.map_asset_specs(translate, assets))


def _translate(
    spec: dg.AssetSpec, key: dg.AssetKey, translation: Translation | None
) -> dg.AssetSpec:
    return translation(spec, _content(key)) if translation else spec


def _content(key: dg.AssetKey) -> CandleAsset:
    """Return what the asset with this key of the datasets holds."""
    place = dataset_of(key.path)
    return CandleAsset(*place) if place else CandleAsset(_SHARED[key.path[-1]], None)
