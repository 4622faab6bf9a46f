"""`cdi transform root` and `cdi generate --spec-version`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from ocishim.admin.cli import main
from ocishim.admin.generate import specversion
from ocishim.errors import ConfigError, UsageError
from tests import peer


def spec(**edits: Any) -> dict[str, Any]:
    devices = [{"name": "x", "containerEdits": {"env": ["A=b"]}}]
    return {
        "cdiVersion": "0.3.0",
        "kind": "acme.com/radio",
        "devices": devices,
        "containerEdits": edits,
    }


def transform(text: str, *words: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(main, ["cdi", "transform", "root", *words], input=text)
    return result.exit_code, result.stdout, result.stderr


def edits(before: dict[str, Any], *words: str) -> dict[str, Any]:
    status, out, err = transform(yaml.safe_dump(before), *words)
    assert (status, err) == (0, "")
    found: dict[str, Any] = yaml.safe_load(out)["containerEdits"]
    return found


def hook(name: str, path: str, *args: str) -> dict[str, Any]:
    return {"hooks": [{"hookName": name, "path": path, "args": list(args)}]}


def node(path: str, host: str = "") -> dict[str, Any]:
    return {"deviceNodes": [{"path": path, **({"hostPath": host} if host else {})}]}


def mount(host: str, container: str) -> dict[str, Any]:
    return {"mounts": [{"hostPath": host, "containerPath": container}]}


HOST = ("--from", "/host", "--to", "/")
CONTAINER = ("--from", "/host", "--to", "/", "--relative-to", "container")


@pytest.mark.parametrize(
    ("before", "words", "after"),
    [
        pytest.param(mount("/host/a", "/host/a"), HOST, mount("/a", "/host/a"), id="mount"),
        pytest.param(mount("/host/a", "/host/a"), CONTAINER, mount("/host/a", "/a"),
            id="its place"),
        pytest.param(mount("/hostile/a", "/a"), HOST, mount("/hostile/a", "/a"), id="whole names"),
        pytest.param(mount("/host", "/a"), HOST, mount("/", "/a"), id="the root itself"),
        pytest.param(
            mount("/a", "/a"), ("--from", "/", "--to", "/host"), mount("/host/a", "/a"), id="back"
        ),
        pytest.param(node("/dev/x", "/host/dev/x"), HOST, node("/dev/x"), id="node"),
        pytest.param(
            node("/dev/x"), ("--from", "/", "--to", "/r"), node("/dev/x", "/r/dev/x"),
            id="node without hostPath",
        ),
        pytest.param(
            node("/host/dev/x"), CONTAINER, node("/dev/x", "/host/dev/x"),
            id="node whose place moves: the host's stays",
        ),
        pytest.param(
            hook("createContainer", "/host/h", "h", "/host/a"), HOST,
            hook("createContainer", "/h", "h", "/host/a"), id="hook",
        ),
        pytest.param(
            hook("createContainer", "/host/h", "--link", "/host/a::/host/b", "--folder=/host/c"),
            CONTAINER,
            hook("createContainer", "/host/h", "--link", "/a::/b", "--folder=/c"),
            id="a hook's arguments",
        ),
        pytest.param(
            hook("createContainer", "/h", "h", "--link", "a::/b", "--mode=755", "--folder", "/c"),
            ("--from", "/", "--to", "/n", "--relative-to", "container"),
            hook("createContainer", "/h", "h", "--link", "a::/n/b", "--mode=755", "--folder", "/n/c"),
            id="a flag is no path",
        ),
        pytest.param(
            hook("startContainer", "/host/h"), HOST, hook("startContainer", "/host/h"),
            id="startContainer is the container's",
        ),
        pytest.param(
            hook("poststop", "/host/h", "/host/a"), HOST, hook("poststop", "/h", "/a"),
            id="a hook on the host",
        ),
    ],
)  # fmt: skip
def test_transform(before: dict[str, Any], words: tuple[str, ...], after: dict[str, Any]) -> None:
    assert edits({**spec(**before), "cdiVersion": "0.5.0"}, *words) == after


def test_hostpath_needs_a_newer_version() -> None:
    text = yaml.safe_dump(spec(**node("/dev/x")))
    out = transform(text, "--from", "/", "--to", "/r")[1]
    assert yaml.safe_load(out)["cdiVersion"] == "0.5.0"


def test_from_file_to_file(tmp_path: Path) -> None:
    (tmp_path / "in.yaml").write_text(yaml.safe_dump(spec(**mount("/host/a", "/a"))))
    words = ("--input", str(tmp_path / "in.yaml"), "--output", str(tmp_path / "out.json"))
    assert transform("", *HOST, *words) == (0, "", "")
    assert '"hostPath": "/a"' in (tmp_path / "out.json").read_text()


@pytest.mark.parametrize(
    ("text", "words", "status", "message"),
    [
        ("", HOST, 1, 'failed to parse CDI Spec "standard input", no Spec data'),
        ("", ("--from", "host", "--to", "/"), 2, "--from takes an absolute path, not 'host'"),
        ("", (*HOST, "--output", "x.yml"), 2, "x.yml: spec dirs are read for .json and .yaml only"),
    ],
)
def test_refused(text: str, words: tuple[str, ...], status: int, message: str) -> None:
    found, out, err = transform(text, *words)
    assert (found, out, err.splitlines()[0]) == (status, "", f"pyshimctl: {message}")


@pytest.mark.parametrize("relative_to", ["host", "container"])
def test_beside_the_peer(tmp_path: Path, relative_to: str) -> None:
    parts = (
        mount("/host/a/b", "/host/a"),
        node("/host/dev/x", "/host/dev/y"),
        hook("createContainer", "/host/h", "h", "--link", "../x::/host/l", "/host/f"),
    )
    before = {**spec(**{key: value for part in parts for key, value in part.items()})}
    before["cdiVersion"] = "0.5.0"
    (tmp_path / "in.yaml").write_text(yaml.safe_dump(before))
    words = ["--from", "/host", "--to", "/n", "--relative-to", relative_to]
    argv = ("cdi", "transform", "root", *words, "--input", str(tmp_path / "in.yaml"))
    theirs = peer.spec(f"transform-{relative_to}", tmp_path, *argv)
    assert edits(before, *words) == theirs["containerEdits"]


@pytest.mark.parametrize(
    ("before", "version", "message", "hint"),
    [
        pytest.param(
            spec(additionalGids=[44]), "0.6.0",
            "'containerEdits.additionalGids' needs CDI 0.7.0, not 0.6.0",
            "--no-gids leaves it out", id="gids",
        ),
        pytest.param(
            {**spec(), "devices": [{"name": "0", "containerEdits": {"env": ["A=b"]}}]}, "0.3.0",
            "'devices[0].name' needs CDI 0.5.0, not 0.3.0",
            "--name-by type-index gives names that begin with a letter", id="a name",
        ),
        pytest.param(
            spec(netDevices=[{"hostInterfaceName": "a", "name": "b"}]), "1.0.0",
            "'containerEdits.netDevices' needs CDI 1.1.0, not 1.0.0", "leave --spec-version out",
            id="another field",
        ),
    ],
)  # fmt: skip
def test_a_field_that_is_too_new(
    before: dict[str, Any], version: str, message: str, hint: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        specversion.declared(before, version)
    assert (caught.value.message, caught.value.hint) == (message, hint)


def test_a_version_that_fits_and_one_that_never_was() -> None:
    assert specversion.declared(spec(), "1.0.0")["cdiVersion"] == "1.0.0"
    with pytest.raises(UsageError, match=r"no CDI version '0.9.0'"):
        specversion.declared(spec(), "0.9.0")


def test_the_option(tmp_path: Path) -> None:
    words = ["--kind", "a.com/b", "--device", "x=/dev/null", "--spec-version", "0.6.0"]
    result = CliRunner().invoke(main, ["cdi", "generate", *words])
    assert yaml.safe_load(result.stdout)["cdiVersion"] == "0.6.0"
