"""The record of each create: what stands in it, that it goes with age, that it stops nothing."""

from __future__ import annotations

import json
import os
import stat
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from ocishim.cache import Cache
from ocishim.create import record
from ocishim.oci import marks
from tests.probe import ACME, Box, oci

if TYPE_CHECKING:
    from pathlib import Path

ASKED = {"cdi.k8s.io/x": "acme.com/gpu=0"}
POD = {
    "io.kubernetes.cri.sandbox-namespace": "ns", "io.kubernetes.cri.sandbox-name": "web",
    "io.kubernetes.cri.container-name": "main",
}  # fmt: skip
SOURCE = "annotation 'cdi.k8s.io/x' asks for acme.com/gpu=0"


@pytest.fixture(name="box")
def _box(tmp_path: Path) -> Box:
    box = Box(tmp_path)
    box.add_spec("acme.json", ACME)
    return box


def kept(box: Box) -> list[dict[str, Any]]:
    return [json.loads(line) for line in Cache(str(box.cache)).lines(record.NAME)]


def create(box: Box, container: str = "c", *, status: int = 0, bundle: str = "bundle") -> None:
    done = box.call("create", "--bundle", bundle, container)
    assert done.status == status, done


def test_what_a_container_got(box: Box) -> None:
    box.bundle(oci(annotations={**ASKED, **POD}))
    create(box)
    (told,) = kept(box)
    assert told.pop("milliseconds") > 0
    assert len(told.pop("time")) == len("2026-01-01T00:00:00Z")
    assert told == {
        "version": 1, "id": "c", "namespace": "ns", "pod": "web", "container": "main",
        "bundle": str(box.folder / "bundle"), "pyshim": str(box.pyshim), "error": "",
        "asked": [SOURCE], "ignored": [],
        "devices": [f"acme.com/gpu=0 of {box.spec_dir}/acme.json"],
        "edits": told["edits"], "hooks": ["create-symlinks", "/bin/true", "update-ldcache"],
        "decided": told["decided"], "warnings": [], "runtime": str(box.runtime),
    }  # fmt: skip
    assert told["edits"] >= 1


@pytest.mark.parametrize("mark", list(POD))
def test_half_a_pod_is_none(mark: str) -> None:
    assert marks.pod_of({"annotations": {mark: "x"}}) == ("", "", "")


@pytest.mark.parametrize(("what", "error", "asked"), [
    pytest.param("no such device", "unresolvable CDI devices acme.com/gpu=0", [SOURCE],
        id="no device"),
    pytest.param("no bundle", "config.json: does not exist", [], id="no bundle"),
    pytest.param("no configuration", "unknown setting 'cdi.x'", [SOURCE], id="configuration"),
    pytest.param("no runtime", "no low-level runtime", [SOURCE], id="no runtime"),
])  # fmt: skip
def test_why_a_create_failed(box: Box, what: str, error: str, asked: list[str]) -> None:
    box.bundle(oci(annotations=ASKED))
    if what == "no such device":
        (box.spec_dir / "acme.json").unlink()
    elif what == "no configuration":
        box.settings({"cdi.x": 1})
    elif what == "no runtime":
        box.settings({"runtimes": ["/nowhere/runc"]})
    create(box, status=1, bundle="none" if what == "no bundle" else "bundle")
    (told,) = kept(box)
    assert error in told["error"]
    assert (told["asked"], told["id"]) == (asked, "c")


def test_other_commands_leave_none(box: Box) -> None:
    box.bundle(oci())
    assert box.call("state", "c").status == 0
    box.settings({"runtimes": ["/nowhere/runc"]})
    assert box.call("delete", "c").status == 1
    assert kept(box) == []


def test_nobody_else_reads_it(box: Box) -> None:
    box.bundle(oci())
    os.umask(os.umask(0))
    create(box)
    status = (box.cache / record.NAME).stat()
    assert stat.S_IMODE(status.st_mode) == 0o600
    assert stat.S_IMODE(box.cache.stat().st_mode) == 0o700


@pytest.mark.parametrize("what", ["a folder", "no cache"])
def test_a_record_that_cannot_be_kept_stops_nothing(box: Box, what: str) -> None:
    box.bundle(oci(annotations=ASKED))
    box.cache.mkdir(mode=0o700)
    file = box.cache / record.NAME
    if what == "a folder":
        file.mkdir()
    else:
        box.cache.rmdir()
        box.cache.write_text("")
    create(box)
    assert b"GPU=0" in (box.folder / "bundle/config.json").read_bytes()


@pytest.mark.parametrize("what", ["a FIFO", "a link", "others may write", "others may read"])
def test_what_is_not_ours_alone_makes_way(box: Box, what: str) -> None:
    box.bundle(oci(annotations=ASKED))
    box.cache.mkdir(mode=0o700)
    file, elsewhere = box.cache / record.NAME, box.folder / "elsewhere"
    if what == "a FIFO":
        os.mkfifo(file)
    elif what == "a link":
        file.symlink_to(elsewhere)
    else:
        elsewhere.write_text("")
        elsewhere.chmod(0o666 if what == "others may write" else 0o644)
        file.hardlink_to(elsewhere)
    create(box)
    assert not elsewhere.exists() or not elsewhere.read_text()
    assert [told["error"] for told in kept(box)] == [""]
    assert stat.S_IMODE(file.lstat().st_mode) == 0o600


def test_creates_at_the_same_time(box: Box) -> None:
    """None is lost, no line is mixed with another."""
    box.bundle(oci())
    create(box, "first")
    words = [str(box.pyshim), "create", "--bundle", "bundle"]
    running = [
        subprocess.Popen([*words, f"c{number}"], env=box.environment(), cwd=box.folder,
                         stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for number in range(12)
    ]  # fmt: skip
    assert [each.wait() for each in running] == [0] * 12
    assert sorted(told["id"] for told in kept(box)) == sorted(
        ["first", *(f"c{n}" for n in range(12))]
    )


def test_two_hundred_stay_and_old_ones_go(tmp_path: Path) -> None:
    """However long records are; the file does not grow for ever."""
    cache = Cache(str(tmp_path / "cache"))
    line = b"x" * (record._LONGEST - 1) + b"\n"
    for _ in range(1000):
        cache.append(record.NAME, line, record._LIMIT, record._SPAN)
    assert 200 <= len(cache.lines(record.NAME)) <= 500
    assert sorted(os.listdir(tmp_path / "cache")) == [record.NAME, f"{record.NAME}.old"]


def test_a_week_later(tmp_path: Path) -> None:
    cache = Cache(str(tmp_path / "cache"))
    file = tmp_path / "cache" / record.NAME
    seen = []
    for line in (b"one\n", b"two\n", b"three\n", b"four\n", b"five\n"):
        cache.append(record.NAME, line, record._LIMIT, record._SPAN)
        seen.append([kept.decode() for kept in cache.lines(record.NAME)])
        if file.exists():
            os.utime(file, (0, 0))
    assert seen == [
        ["one"], ["one", "two"], ["one", "two", "three"], ["three", "four"], ["three", "four", "five"]
    ]  # fmt: skip


@pytest.mark.parametrize("told", [
    pytest.param({"asked": ["é" * 500] * 500}, id="many"),
    pytest.param({"error": "x" * 100_000}, id="a long error"),
    pytest.param({"bundle": "\udcff" * 5000, "pod": "y" * 9000}, id="bytes"),
    pytest.param(
        {"asked": ["\x1b[31m"] * 4000, "hooks": ["h" * 999] * 99, "warnings": ["w" * 999] * 99},
        id="all"),
])  # fmt: skip
def test_a_long_record_is_cut(tmp_path: Path, told: dict[str, Any]) -> None:
    class Kept:
        cache = Cache(str(tmp_path / "cache"))

    record._keep(told, Kept())  # type: ignore[arg-type]
    (line,) = Kept.cache.lines(record.NAME)
    assert len(line) < record._LONGEST
    json.loads(line)


@pytest.mark.parametrize(("annotations", "line"), [
    pytest.param(ASKED, "container c: gave ", id="a container"),
    pytest.param({**ASKED, **POD}, "container c of pod ns/web: gave ", id="in a pod"),
])  # fmt: skip
def test_the_info_line(box: Box, annotations: dict[str, str], line: str) -> None:
    box.settings({"log.level": "info"})
    box.bundle(oci(annotations=annotations))
    create(box)
    (logged,) = box.log.read_text().splitlines()
    assert logged.split(" ", 1)[1].startswith(
        f"info {line}acme.com/gpu=0 of {box.spec_dir}/acme.json ({SOURCE}): "
    )
    assert logged.endswith(" ms")


def test_a_device_that_two_ask_for_is_given_once(box: Box) -> None:
    box.bundle(oci(annotations={**ASKED, "cdi.k8s.io/y": ASKED["cdi.k8s.io/x"]}))
    create(box)
    (told,) = kept(box)
    assert len(told["asked"]) == 2
    assert told["devices"] == [f"acme.com/gpu=0 of {box.spec_dir}/acme.json"]


def test_no_info_line_without_a_device(box: Box) -> None:
    box.settings({"log.level": "info"})
    box.bundle(oci(annotations=POD))
    create(box)
    assert not box.log.exists()


def test_json_lines(box: Box) -> None:
    box.settings({"log.level": "info", "log.format": "json"})
    box.bundle(oci(annotations={**ASKED, **POD}))
    create(box)
    box.bundle(oci(annotations={"cdi.k8s.io/x": "acme.com/gpu=7"}), "other")
    create(box, "d", status=1, bundle="other")
    info, error = map(json.loads, box.log.read_text().splitlines())
    facts = {name: info[name] for name in ("level", "container_id", "pod", "container_name")}
    assert facts == {
        "level": "info",
        "container_id": "c",
        "pod": "ns/web",
        "container_name": "main",
    }
    assert info["cdi_device"] == ["acme.com/gpu=0"]
    assert info["cdi_spec"] == [f"{box.spec_dir}/acme.json"]
    assert (error["level"], error["container_id"]) == ("error", "d")
    assert error["msg"].startswith("unresolvable CDI devices acme.com/gpu=7")
