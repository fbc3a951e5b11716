"""Every test that SECURITY.md names exists."""

import re

from coinbase_assets_tests.processes import PROJECT


def test_security_document_names_real_tests() -> None:
    named = set(re.findall(r"`(test_\w+)`", (PROJECT / "SECURITY.md").read_text()))
    files = (PROJECT / "coinbase_assets_tests").rglob("test_*.py")
    defined = {name for file in files for name in re.findall(r"def (test_\w+)", file.read_text())}
    assert len(named) > 20
    assert named <= defined
