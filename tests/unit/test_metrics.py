"""Counters in Prometheus' text form: right, whole at any time, and never in a create's way."""

from __future__ import annotations

import fcntl
import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

import ocishim.errors
from ocishim import posixos
from ocishim.create import metrics
from ocishim.errors import SORTS, PyshimError, sort_of
from ocishim.settings import brokenfile
from tests.probe import ACME, Box, oci

CREATES = "pyshim_creates_total"
FAILED = "pyshim_creates_failed_total"
MOUNT = {"hostPath": "/gone.so", "containerPath": "/gone.so", "options": ["bind"]}
ASKED = oci(annotations={"cdi.k8s.io/x": "acme.com/gpu=0"})


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


def failures(**some: int) -> dict[str, str]:
    """Every counter of failures, those in `some` with their values."""
    return {f'{FAILED}{{reason="{sort}"}}': str(some.get(sort, 0)) for sort in SORTS}


def test_counters(box: Box) -> None:
    for bundle, status in (("device", 0), ("device", 0), ("plain", 0), ("wrong", 1)):
        assert box.call("create", "--bundle", bundle, "c").status == status
    found = counted(box)
    assert float(found.pop("pyshim_create_seconds_total")) > 0
    assert found == {
        f'{CREATES}{{result="failed"}}': "1", f'{CREATES}{{result="injected"}}': "2",
        f'{CREATES}{{result="plain"}}': "1", 'pyshim_devices_total{kind="acme.com/gpu"}': "2",
        "pyshim_warnings_total": "0",
        **failures(unresolved=1),
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


NONE_FAILED = {f'{FAILED}{{reason="{sort}"}}': 0.0 for sort in SORTS}


def usage(_: Box) -> list[str]:
    return ["create", "--bundle"]


def broken(box: Box) -> list[str]:
    box.config.write_text(box.config.read_text() + "[hooks]\n[hooks]\n")
    return []


def without_runtime(box: Box) -> list[str]:
    box.config.write_text(
        f'runtimes = ["/none"]\n[log]\nmetrics = "{box.folder}/textfile/pyshim.prom"\n'
    )
    return []


def torn(box: Box) -> list[str]:
    (box.folder / "device/config.json").write_text("{")
    return []


def spec(edits: dict[str, object]) -> Callable[[Box], list[str]]:
    def make(box: Box) -> list[str]:
        device = {"name": "0", "containerEdits": edits}
        box.add_spec(
            "acme.json", {"cdiVersion": "1.1.0", "kind": "acme.com/gpu", "devices": [device]}
        )
        return []

    return make


def no_name(box: Box) -> list[str]:
    box.bundle(oci(annotations={"cdi.k8s.io/x": "gpu0"}), "device")
    return []


HOOK = {"hookName": "createContainer", "path": "/opt/gone"}


@pytest.mark.parametrize(("reason", "make"), [
    pytest.param("usage", usage, id="an option without its value"),
    pytest.param("configuration", broken, id="settings with a table twice"),
    pytest.param("runtime", without_runtime, id="no runtime"),
    pytest.param("bundle", torn, id="half a config.json"),
    pytest.param("request", no_name, id="no device name"),
    pytest.param("unresolved", spec({}), id="a spec that is refused"),
    pytest.param("stale", spec({"mounts": [MOUNT]}), id="a mount whose source is gone"),
    pytest.param("stale", spec({"deviceNodes": [{"path": "/dev/gone"}]}), id="a node that is gone"),
    pytest.param("stale", spec({"netDevices": [{"hostInterfaceName": "gone0", "name": "e"}]}),
                 id="an interface that is gone"),
    pytest.param("hook", spec({"hooks": [HOOK]}), id="a hook's program that is gone"),
])  # fmt: skip
def test_the_sort_of_failure(box: Box, reason: str, make: Callable[[Box], list[str]]) -> None:
    words = make(box) or ["create", "--bundle", "device", "c"]
    assert box.call(*words).status == 1
    assert counted(box) == {f'{CREATES}{{result="failed"}}': "1", **failures(**{reason: 1})}


@pytest.mark.parametrize(("err", "sort"), [
    (OSError(28, "no space"), "system"), (MemoryError(), "memory"), (KeyError(), "internal"),
    (ocishim.errors.UnsafePathError("x"),
        "path"),  (ocishim.errors.ForeignMountError("/a", "/b"), "path"),
])  # fmt: skip
def test_the_sort_of_what_the_kernel_and_python_raise(err: BaseException, sort: str) -> None:
    assert sort_of(err) == sort


def test_every_kind_of_failure_has_a_sort_that_is_documented() -> None:
    kinds = [each for each in vars(ocishim.errors).values()
             if isinstance(each, type) and issubclass(each, PyshimError)]  # fmt: skip
    assert {kind.sort for kind in kinds} <= set(SORTS)
    page = (Path(__file__).parents[2] / "docs/pyshimctl.md").read_text()
    table = page.partition("| `reason` |")[2].partition("\n\n")[0]
    assert re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE) == list(SORTS)


@pytest.mark.parametrize(("text", "found"), [
    ('[log]\nmetrics = "/a.prom"\n[x',
        "/a.prom"),  ("= 7\n[ log ]\n metrics='/a.prom' # x\n", "/a.prom"),
    ('log.metrics = "/a.prom"\n= 7', "/a.prom"), ('[hooks]\nmetrics = "/a.prom"\n', ""),
    ('[log]\nmetrics = "a.prom"\n', ""), ('[log]\n# metrics = "/a.prom"\n', ""), ("\0\xff", ""),
])  # fmt: skip
def test_a_broken_file_still_names_where_to_count(tmp_path: Path, text: str, found: str) -> None:
    (tmp_path / "config.toml").write_bytes(text.encode("latin-1"))
    assert brokenfile.metrics_of_broken(str(tmp_path / "config.toml")) == found
    assert brokenfile.metrics_of_broken(str(tmp_path / "none.toml")) == ""


@pytest.mark.parametrize("text", [
    "", "noise\n", "pyshim_creates_total nan\n", "pyshim_creates_total -1\n", "pyshim_creates_total 1e999\n",
    "node_cpu 7\n", "\0\xff\n", "pyshim_creates_total\n",
])  # fmt: skip
def test_a_file_that_is_not_ours_begins_anew(tmp_path: Path, text: str) -> None:
    (tmp_path / "x.prom").write_bytes(text.encode("latin-1"))
    metrics.add(str(tmp_path / "x.prom"), {"pyshim_warnings_total": 2})
    assert metrics._read(str(tmp_path / "x.prom")) == {"pyshim_warnings_total": 2, **NONE_FAILED}


def test_what_was_counted_stays(tmp_path: Path) -> None:
    path = str(tmp_path / "x.prom")
    for _ in range(3):
        metrics.add(path, {"pyshim_warnings_total": 2, "pyshim_create_seconds_total": 0.25})
    counted = {"pyshim_warnings_total": 6, "pyshim_create_seconds_total": 0.75}
    assert metrics._read(path) == {**counted, **NONE_FAILED}


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
    expected = metrics.text({**NONE_FAILED, "pyshim_warnings_total": 2})
    assert (tmp_path / "x.prom").read_text() == expected
    assert (tmp_path / "victim").read_text() == "as it was"
    assert sorted(os.listdir(tmp_path)) == ["victim", "x.prom"]


def test_a_link_of_somebody_else_is_not_followed(tmp_path: Path) -> None:
    """The folder may be one that everybody writes to."""
    (tmp_path / "x.prom.pyshim").symlink_to(tmp_path / "victim")
    metrics.add(str(tmp_path / "x.prom"), {"pyshim_warnings_total": 1})
    assert not Path(tmp_path / "victim").exists()


def test_a_short_write_is_continued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk takes a part: half of the counters must not become the counters."""
    write = posixos.write
    monkeypatch.setattr(posixos, "write", lambda fd, data: write(fd, data[:100]))
    metrics.add(str(tmp_path / "x.prom"), {"pyshim_warnings_total": 2})
    monkeypatch.undo()
    assert metrics._read(str(tmp_path / "x.prom")) == {"pyshim_warnings_total": 2, **NONE_FAILED}
