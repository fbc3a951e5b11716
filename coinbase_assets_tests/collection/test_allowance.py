"""Extra requests are bounded for each run."""

import pytest

from coinbase_assets.collection.allowance import Allowance


@pytest.mark.parametrize(("own", "total"), [(0, 20), (5, 20), (133, 20), (200, 30), (1_000, 150)])
def test_allowance_of_collection_is_a_share(own: int, total: int) -> None:
    assert Allowance.of_collection(own).total == total


def test_allowance_of_healing_grows_with_days() -> None:
    assert Allowance.of_healing(3).total == 3 * Allowance.of_healing(1).total > 100


def test_allowance_takes_all_or_nothing() -> None:
    allowance = Allowance(3)
    assert [allowance.take(2), allowance.take(2), allowance.take(), allowance.take()] == [
        True,
        False,
        True,
        False,
    ]
    assert allowance.spent == 3
