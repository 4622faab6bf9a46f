"""The table of docs/generate.md: its hosts are found whole, and it has all of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from ocishim.admin.generate import edits, nvidia
from tools.generate_matrix.__main__ import BEGIN, DOCUMENT, END, judged, nvml
from tools.generate_matrix.layouts import LAYOUTS, Host

pytestmark = pytest.mark.root


@pytest.fixture(scope="module")
def library() -> bytes:
    """Build the stand-in for libnvidia-ml once."""
    return nvml()


@pytest.mark.parametrize("title", LAYOUTS)
def test_a_host_is_found_whole(tmp_path: Path, title: str, library: bytes) -> None:
    host = Host(tmp_path, library)
    LAYOUTS[title](host)
    generator = nvidia.Generator(driver_root=str(tmp_path), machine="x86_64")
    spec = edits.spec("nvidia.com/gpu", *generator.generate())
    found, wrong = judged(spec, host.expected, tmp_path)
    assert (host.expected - found, wrong) == (set(), set())


def test_the_table_has_every_host_and_none_where_we_miss_anything() -> None:
    rows = DOCUMENT.read_text().partition(BEGIN)[2].partition(END)[0].splitlines()[2:]
    cells = [[cell.strip() for cell in row.replace("\\|", "/").split("|")[1:-1]] for row in rows]
    assert [cell[0] for cell in cells] == list(LAYOUTS)
    for _title, entries, ours, peer in cells:
        assert ours == f"{entries} / 0 / 0"
        assert peer == "no spec" or int(peer.partition(" ")[0]) <= int(entries)
