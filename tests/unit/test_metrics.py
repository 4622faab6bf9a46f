"""Counters in Prometheus' text form: right, whole at any time, and never in a create's way."""

from __future__ import annotations

import fcntl
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from ocishim.create import metrics
from tests.probe import ACME, Box, oci

CREATES = "pyshim_creates_total"


@pytest.fixture(name="box")
def _box(tmp_path: Path) -> Box:
    box = Box(tmp_path)
    box.add_spec("acme.json", ACME)
    (tmp_path / "textfile").mkdir()
    box.settings({"log.metrics": str(tmp_path / "textfile/pyshim.prom")})
    box.bundle(oci(annotations={"cdi.k8s.io/x": "acme.com/gpu=0"}), "device")
    box.bundle(oci(), "plain")
    box.bundle(oci(annotations={"cdi.k8s.io/x": "acme.com/gpu=7"}), "wrong")
    return box


def counted(box: Box) -> dict[str, str]:
    lines = (box.folder / "textfile/pyshim.prom").read_text().splitlines()
    return dict(line.rsplit(" ", 1) for line in lines if not line.startswith("#"))


def test_counters(box: Box) -> None:
    for bundle, status in (("device", 0), ("device", 0), ("plain", 0), ("wrong", 1)):
        assert box.call("create", "--bundle", bundle, "c").status == status
    found = counted(box)
    assert float(found.pop("pyshim_create_seconds_total")) > 0
    assert found == {
        f'{CREATES}{{result="failed"}}': "1", f'{CREATES}{{result="injected"}}': "2",
        f'{CREATES}{{result="plain"}}': "1", 'pyshim_devices_total{kind="acme.com/gpu"}': "2",
        "pyshim_warnings_total": "0",
    }  # fmt: skip
    file = box.folder / "textfile/pyshim.prom"
    assert file.stat().st_mode & 0o777 == 0o644
    assert os.listdir(file.parent) == ["pyshim.prom"]


def test_the_whole_text() -> None:
    assert metrics.text(
        {f'{CREATES}{{result="plain"}}': 3, "pyshim_create_seconds_total": 0.5}
    ) == (
        "# HELP pyshim_creates_total Creates, by what came of them: injected, plain or failed.\n"
        "# TYPE pyshim_creates_total counter\n"
        'pyshim_creates_total{result="plain"} 3\n'
        "# HELP pyshim_create_seconds_total Seconds that creates took before the low-level runtime.\n"
        "# TYPE pyshim_create_seconds_total counter\n"
        "pyshim_create_seconds_total 0.500000\n"
    )


def test_creates_at_the_same_time_all_count(box: Box) -> None:
    words = [str(box.pyshim), "create", "--bundle", "plain", "c"]
    running = [
        subprocess.Popen(words, env=box.environment(), cwd=box.folder,
                         stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for _ in range(10)
    ]  # fmt: skip
    assert [each.wait() for each in running] == [0] * 10
    assert counted(box)[f'{CREATES}{{result="plain"}}'] == "10"


@pytest.mark.parametrize("what", ["folder missing", "a folder", "locked for ever", "a FIFO"])
def test_what_cannot_be_counted_stops_nothing(box: Box, what: str) -> None:
    file = box.folder / "textfile/pyshim.prom"
    lock = os.open(f"{file}.pyshim", os.O_RDONLY | os.O_CREAT, 0o600)
    if what == "folder missing":
        os.unlink(f"{file}.pyshim")
        file.parent.rmdir()
    elif what == "a folder":
        file.mkdir()
    elif what == "a FIFO":
        os.mkfifo(file)
    else:
        fcntl.flock(lock, fcntl.LOCK_EX)
    assert box.call("create", "--bundle", "device", "c").status == 0
    os.close(lock)
    assert b"GPU=0" in (box.folder / "device/config.json").read_bytes()


@pytest.mark.parametrize("text", [
    "", "noise\n", "pyshim_creates_total nan\n", "pyshim_creates_total -1\n", "pyshim_creates_total 1e999\n",
    "node_cpu 7\n", "\0\xff\n", "pyshim_creates_total\n",
])  # fmt: skip
def test_a_file_that_is_not_ours_begins_anew(tmp_path: Path, text: str) -> None:
    (tmp_path / "x.prom").write_bytes(text.encode("latin-1"))
    metrics.add(str(tmp_path / "x.prom"), {"pyshim_warnings_total": 2})
    assert metrics._read(str(tmp_path / "x.prom")) == {"pyshim_warnings_total": 2}


def test_what_was_counted_stays(tmp_path: Path) -> None:
    path = str(tmp_path / "x.prom")
    for _ in range(3):
        metrics.add(path, {"pyshim_warnings_total": 2, "pyshim_create_seconds_total": 0.25})
    assert metrics._read(path) == {"pyshim_warnings_total": 6, "pyshim_create_seconds_total": 0.75}


@pytest.mark.parametrize("what", ["textfile", "textfile/pyshim.prom"])
def test_who_may_read_it_cannot_hold_it_up(box: Box, what: str) -> None:
    (box.folder / "textfile/pyshim.prom").touch()
    lock = os.open(box.folder / what, os.O_RDONLY)
    fcntl.flock(lock, fcntl.LOCK_EX)
    assert box.call("create", "--bundle", "plain", "c").status == 0
    os.close(lock)
    assert counted(box)[f'{CREATES}{{result="plain"}}'] == "1"


@pytest.mark.parametrize("make", [
    pytest.param(lambda path: path.write_text("noise" * 100), id="of a create that was killed"),
    pytest.param(lambda path: (path.touch(0o666), path.chmod(0o666)), id="everybody's"),
    pytest.param(lambda path: path.hardlink_to(path.parent / "victim"), id="a hard link"),
    pytest.param(os.mkfifo, id="a FIFO"),
])  # fmt: skip
def test_what_lies_in_the_next_files_place(tmp_path: Path, make: Callable[[Path], object]) -> None:
    (tmp_path / "victim").write_text("as it was")
    (tmp_path / "victim").chmod(0o600)
    make(tmp_path / "x.prom.pyshim")
    for _ in range(2):
        metrics.add(str(tmp_path / "x.prom"), {"pyshim_warnings_total": 1})
    assert (tmp_path / "x.prom").read_text() == metrics.text({"pyshim_warnings_total": 2})
    assert (tmp_path / "victim").read_text() == "as it was"
    assert sorted(os.listdir(tmp_path)) == ["victim", "x.prom"]


def test_a_link_of_somebody_else_is_not_followed(tmp_path: Path) -> None:
    """The folder may be one that everybody writes to."""
    (tmp_path / "x.prom.pyshim").symlink_to(tmp_path / "victim")
    metrics.add(str(tmp_path / "x.prom"), {"pyshim_warnings_total": 1})
    assert not Path(tmp_path / "victim").exists()
