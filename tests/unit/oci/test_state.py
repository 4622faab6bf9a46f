"""States as runtimes send them, and the rootfs they lead to."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from ocishim.errors import DocumentError, PyshimError, UnsafePathError
from ocishim.linux import const, syscalls
from ocishim.oci import state
from ocishim.rootfs import locate
from tests.isolated import run
from tests.trees import make_tree

RUNC = {
    "ociVersion": "1.0.2-dev",
    "id": "c1",
    "status": "creating",
    "pid": 1,
    "bundle": "/b",
    "annotations": {"a": "b"},
}


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({}, id="runc 1.1"),
        pytest.param({"status": "created", "pid": 0, "root": "rootfs"}, id="crun 1.8"),
        pytest.param({"pid": None}, id="youki, null pid"),
        pytest.param({"pid": -1}, id="gVisor"),
        pytest.param({"status": "starting"}, id="a status of its own"),
        pytest.param({"status": 7, "pid": "x", "annotations": [], "root": None}, id="odd types"),
        pytest.param({"future": {"deep": [1.5]}}, id="unknown property"),
        pytest.param({"pid": 10**30}, id="huge pid"),
    ],
)
def test_every_runtimes_state_is_taken(change: dict[str, object]) -> None:
    parsed = state.parse(json.dumps({**RUNC, **change}).encode())
    assert (parsed.id, parsed.bundle) == ("c1", "/b")


@pytest.mark.parametrize("missing", list(RUNC))
def test_everything_may_be_missing(missing: str) -> None:
    document = {key: value for key, value in RUNC.items() if key != missing}
    parsed = state.parse(json.dumps(document).encode())
    assert parsed.root == ""


def test_what_is_there_is_told() -> None:
    parsed = state.parse(json.dumps({**RUNC, "root": "rootfs"}).encode())
    assert (parsed.id, parsed.status, parsed.pid, parsed.bundle, parsed.root) == (
        "c1", "creating", 1, "/b", "rootfs",
    )  # fmt: skip
    assert parsed.annotations == {"a": "b"}


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "state: not valid JSON: the document is empty"),
        (b" \n", "state: not valid JSON: the document is empty"),
        (b"{", None),
        (b'{"id": "c1"', None),
        (b"{} {}", "state: not valid JSON: text after the document, line 1 column 3"),
        (b"[]", "state: expected an object, found array"),
        (b'"x"', "state: expected an object, found string"),
        (b"null", "state: expected an object, found null"),
        (b"nonsense", "state: not valid JSON: expected a value, line 1 column 1"),
        (b"[" * 100_000, "state: not valid JSON: nested too deeply"),
        (rb'{"bundle": "/a\u0000"}', r"state: expected a path, found '/a\x00' in 'bundle'"),
        (rb'{"root": "\u0000"}', r"state: expected a path, found '\x00' in 'root'"),
    ],
    ids=[
        *("empty", "blank", "cut", "cut later", "two", "list", "string", "null", "text", "deep"),
        *("a NUL in the bundle", "a NUL in the root"),
    ],
)
def test_what_is_no_state(data: bytes, message: str | None) -> None:
    with pytest.raises(DocumentError) as caught:
        state.parse(data)
    if message is None:
        assert str(caught.value).startswith("state: not valid JSON: ")
    else:
        assert str(caught.value) == message


@pytest.mark.parametrize(("size", "works"), [(1, True), (4 << 20, True), ((4 << 20) + 1, False)])
def test_read_has_a_limit(tmp_path: Path, size: int, *, works: bool) -> None:
    (tmp_path / "state").write_bytes(b" " * size)
    fd = os.open(tmp_path / "state", os.O_RDONLY)
    try:
        if works:
            assert len(state.read(fd)) == size
        else:
            with pytest.raises(DocumentError) as caught:
                state.read(fd)
            assert str(caught.value) == "state on stdin: more than 4194304 bytes"
    finally:
        os.close(fd)


def _state(bundle: object, **more: object) -> state.State:
    return state.parse(json.dumps({"bundle": str(bundle), **more}).encode())


@pytest.mark.parametrize(
    ("config", "more", "path"),
    [
        pytest.param({"root": {"path": "rootfs"}}, {}, "{bundle}/rootfs", id="relative"),
        pytest.param({"root": {"path": "/abs/root"}}, {}, "/abs/root", id="absolute"),
        pytest.param({"root": {"path": "no"}}, {"root": "mine"}, "{bundle}/mine", id="crun's root"),
        pytest.param({}, {"root": "/abs"}, "/abs", id="crun's root, absolute"),
        pytest.param(None, {"root": "rootfs"}, "{bundle}/rootfs", id="no config.json needed"),
        pytest.param(
            {"root": {"path": "rootfs"}}, {"root": ""}, "{bundle}/rootfs", id="empty root"
        ),
    ],
)
def test_rootfs_path(tmp_path: Path, config: object, more: dict[str, object], path: str) -> None:
    if config is not None:
        (tmp_path / "config.json").write_text(json.dumps(config))
    assert state.rootfs_path(_state(tmp_path, **more)) == path.format(bundle=tmp_path)


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        pytest.param(None, "does not exist", id="no config.json"),
        pytest.param("{}", "root.path is missing", id="no root"),
        pytest.param('{"root": null}', "root.path is missing", id="null"),
        pytest.param('{"root": {}}', "root.path is missing", id="no path"),
        pytest.param('{"root": {"path": ""}}', "root.path is missing", id="empty path"),
        pytest.param('{"root": {"path": 7}}', "root.path is missing", id="odd type"),
        pytest.param('{"root": []}', "root.path is missing", id="odd root"),
        pytest.param("[]", "expected an object, found array", id="no object"),
    ],
)
def test_rootfs_path_that_is_not_told(tmp_path: Path, config: str | None, reason: str) -> None:
    if config is not None:
        (tmp_path / "config.json").write_text(config)
    with pytest.raises(DocumentError) as caught:
        state.rootfs_path(_state(tmp_path))
    assert str(caught.value) == f"{tmp_path}/config.json: {reason}"


@pytest.mark.parametrize("bundle", ["", "relative", "./x"])
def test_a_bundle_that_is_no_absolute_path(bundle: str) -> None:
    with pytest.raises(DocumentError) as caught:
        state.rootfs_path(_state(bundle))
    assert str(caught.value) == f"state: bundle {bundle!r} is not an absolute path"


def test_config_json_that_is_a_fifo_does_not_hang(tmp_path: Path) -> None:
    make_tree(tmp_path, "fifo config.json")
    with pytest.raises(DocumentError) as caught:
        state.rootfs_path(_state(tmp_path))
    assert str(caught.value) == f"{tmp_path}/config.json: not a regular file"


@pytest.mark.parametrize("path", ["/", "//", "/.", "/etc/..", "/proc/self/root"])
def test_the_hosts_root_is_refused(path: str) -> None:
    with pytest.raises(UnsafePathError) as caught:
        locate.open_rootfs(path, None)
    assert str(caught.value) == f"rootfs {path!r} is the host's root directory"


def test_the_hosts_root_by_a_link_is_refused(tmp_path: Path) -> None:
    make_tree(tmp_path, "symlink root /")
    with pytest.raises(UnsafePathError):
        locate.open_rootfs(str(tmp_path / "root"), None)


def test_a_path_that_opens_is_taken(tmp_path: Path) -> None:
    for identity in (None, _identity(tmp_path)):
        with locate.open_rootfs(str(tmp_path), identity) as rootfs:
            assert os.path.samestat(os.fstat(rootfs.fd), tmp_path.stat())


def test_a_path_that_leads_to_another_directory_is_not(tmp_path: Path) -> None:
    """Who owns the folder above swaps the rootfs for a link to a folder of the host."""
    root, host = tmp_path / "rootfs", make_tree(tmp_path / "host", "file f x")
    identity = _identity(make_tree(root, "dir etc"))
    root.rename(tmp_path / "away")
    root.symlink_to(host)
    with pytest.raises(DocumentError) as caught:
        locate.open_rootfs(str(root), identity)
    assert str(caught.value) == (
        f"no rootfs found: {root} is another directory; working directory: . is another directory; "
        "working directory: rootfs: No such file or directory"
    )


def _identity(path: Path) -> tuple[int, int]:
    return path.stat().st_dev, path.stat().st_ino


@pytest.mark.parametrize("cwd", [".", "bundle"], ids=["runc", "crun"])
def test_the_working_directory_where_the_path_is_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cwd: str
) -> None:
    root = make_tree(tmp_path / "bundle/rootfs", "file here x")
    monkeypatch.chdir(root if cwd == "." else tmp_path / "bundle")
    with locate.open_rootfs("/no/such", _identity(root)) as rootfs:
        assert rootfs.exists("here")


def test_another_working_directory_is_not_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = make_tree(tmp_path / "other", "dir rootfs")
    monkeypatch.chdir(other)
    with pytest.raises(DocumentError) as caught:
        locate.open_rootfs("/no/such", _identity(tmp_path))
    assert str(caught.value) == (
        "no rootfs found: /no/such: No such file or directory; "
        "working directory: . is another directory; working directory: rootfs is another directory"
    )


def test_without_an_identity_no_working_directory_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DocumentError) as caught:
        locate.open_rootfs("/no/such", None)
    assert str(caught.value) == "no rootfs found: /no/such: No such file or directory"


def test_the_hosts_root_as_working_directory_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("/")
    with pytest.raises(UnsafePathError):
        locate.open_rootfs("/no/such", _identity(Path("/")))


@pytest.mark.root
def test_a_mapped_root_that_cannot_enter_the_folders_above(tmp_path: Path) -> None:
    """A user namespace: root of the container is nobody in root's private folders."""
    private = tmp_path / "private"
    root = make_tree(private / "bundle/rootfs", "file here x")
    identity = _identity(root)
    os.chmod(root, 0o755)
    private.chmod(0o700)

    def mapped() -> None:
        os.chdir(root)
        pid_map = "0 100000 65536"
        ready, go = os.pipe(), os.pipe()
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                syscalls.unshare(const.CLONE_NEWUSER)
                os.write(ready[1], b"x")
                os.read(go[0], 1)
                os.setgid(0)
                os.setuid(0)
                with pytest.raises(DocumentError, match="Permission denied"):
                    locate.open_rootfs(str(root), None)
                with locate.open_rootfs(str(root), identity) as rootfs:
                    assert rootfs.exists("here")
                status = 0
            finally:
                os._exit(status)
        os.read(ready[0], 1)
        for name in ("uid_map", "gid_map"):
            Path(f"/proc/{pid}/{name}").write_text(pid_map, encoding="utf-8")
        os.write(go[1], b"x")
        assert os.waitpid(pid, 0)[1] == 0

    run(mapped, flags=0)


@pytest.mark.parametrize("text", ["", "1", "a:b", "1:", ":1", "1:2:3"])
def test_an_identity_that_is_none(text: str) -> None:
    with pytest.raises(DocumentError) as caught:
        locate.parse_identity(text)
    assert str(caught.value) == f"rootfs identity {text!r} is not DEV:INO"


def test_an_identity() -> None:
    assert locate.parse_identity("64769:1234567") == (64769, 1234567)


def test_all_errors_are_ours() -> None:
    for path in ("a\0b", "x" * 5000, ""):
        with pytest.raises(PyshimError):
            locate.open_rootfs(path, None)
