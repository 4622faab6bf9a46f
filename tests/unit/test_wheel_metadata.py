"""What PyPI and `pip show` say of the wheel with the static file inside."""

from __future__ import annotations

from pathlib import Path

from packaging.metadata import Metadata

from tools.packaging import wheel
from tools.packaging.project import SUMMARY

README = Path(__file__).parents[2] / "README.md"
LICENCE = " AND ".join(["Apache-2.0", "BSD-3-Clause", "GPL-3.0-or-later", "LGPL-2.1-or-later"] * 2)


def test_it_is_read_as_it_was_meant() -> None:
    """PyPI refuses fields that it does not know, and a summary of two lines."""
    found = Metadata.from_email(wheel.metadata(LICENCE))
    assert found.license_expression == LICENCE
    assert found.summary == SUMMARY
    assert found.description == README.read_text()
    assert found.description_content_type == "text/markdown"
