"""The tables that benchmarks print."""

import pytest

from benchmarks.tables import Measured, print_table


def _rows(printed: str) -> list[list[str]]:
    """The cells of each contender's row."""
    lines = [line for line in printed.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines[2:]]


def test_a_row_has_the_median_and_how_ours_compares(capsys: pytest.CaptureFixture[str]) -> None:
    ours = Measured("ours", [3.0, 1.0, 2.0])
    print_table("work", ours, Measured("theirs", [4.0], at_most=0.5))
    assert _rows(capsys.readouterr().out) == [
        ["ours", "1.00", "2.00", "3.00", "3", "", "", ""],
        ["theirs", "4.00", "4.00", "4.00", "1", "", "0.500", "at most 0.5: met"],
    ]


def test_a_missed_ratio_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    print_table("work", Measured("ours", [3.0]), Measured("theirs", [4.0], at_most=0.5))
    assert _rows(capsys.readouterr().out)[1][-2:] == ["0.750", "at most 0.5: missed"]


def test_ours_is_judged_by_the_floor(capsys: pytest.CaptureFixture[str]) -> None:
    print_table("work", Measured("ours", [12.0], at_most=1.15), floor=10.0)
    printed = capsys.readouterr().out
    assert "floor 10.0 s" in printed
    assert _rows(printed)[0][-3:] == ["1.20", "", "at most 1.15: missed"]


def test_a_limit_is_for_the_greatest_value(capsys: pytest.CaptureFixture[str]) -> None:
    ours = Measured("ours", [390.0, 390.0, 401.0], limit=400)
    print_table("memory", ours, Measured("another", [400.0], limit=400), unit="MB")
    targets = [row[-1] for row in _rows(capsys.readouterr().out)]
    assert targets == ["at most 400 MB: missed", "at most 400 MB: met"]
