"""Images that attack the paths hooks act on: links, modes; T1... are rows of the attack table.

Each hook runs as a program of its own. Whatever the image is: nothing outside of it is created,
changed or read into it, the answer comes within 8 seconds, no process takes 64 MiB, and a refusal
is one line that names the path and says why.
"""

from __future__ import annotations

import os
import stat
import time
from pathlib import Path

import pytest

from ocishim.linux import syscalls
from tests.hookcall import PROMPT, Done, call, measured
from tests.isolated import isolated
from tests.swapper import Swapper
from tests.trees import hostile_tree, link_chain, make_tree, names, snapshot

pytestmark = pytest.mark.root

MEMORY_KIB = 64 << 10

NO_WAY = "is a symbolic link that leads to no directory in the rootfs"
REFUSED = "is refused: a magic link, or too many links"


class Image:
    """A rootfs beside a folder of the host that it aims at."""

    def __init__(self, folder: Path, *lines: str) -> None:
        self.outside = make_tree(
            folder / "outside", "file file secret", "dir dir", "file dir/file secret",
            "symlink same target", "file setuid x",
        )  # fmt: skip
        (self.outside / "setuid").chmod(0o4755)
        self.root = make_tree(folder / "root", *(line.format(out=self.outside) for line in lines))

    def attack(self, *args: str) -> Done:
        """Run a hook; assert what must hold whatever it meets; return how it ended."""
        before = snapshot(self.outside)
        done = measured(self.root, *(arg.format(out=self.outside) for arg in args))
        assert snapshot(self.outside) == before
        assert done.seconds < PROMPT, done
        assert done.peak_kib < MEMORY_KIB, done
        assert done.status in (0, 1), done
        assert "Traceback" not in done.stderr
        assert len(done.stderr.splitlines()) <= 1, done
        assert not [name for name in names(self.root) if ".pyshim-" in name]
        return done


@pytest.fixture
def image(request: pytest.FixtureRequest, tmp_path: Path) -> Image:
    return Image(tmp_path, *request.param)


def _row(what: str, lines: tuple[str, ...], link: str, says: str) -> object:
    return pytest.param(lines, link, says, id=what)


@pytest.mark.parametrize(
    ("image", "link", "says"),
    [
        _row("T3 parent to the host", ("symlink lib {out}",), "/lib/l", f"'/lib' {NO_WAY}"),
        _row("T3 parent to the host, deeper", ("symlink lib {out}",), "/lib/a/b/l",
            f"'/lib' {NO_WAY}"),
        _row("T3 parent is / of the host's path", ("symlink r /",), "/r{out}/dir/l", ""),
        _row("T3 dots in the link", (), "../../../../../../../../../..{out}/dir/l", ""),
        _row("T3 dots in the parent's link", ("symlink lib ../outside/dir",), "/lib/l",
            f"'/lib' {NO_WAY}"),
        _row("T3 many dots", ("symlink lib ../../../../../../../../../..{out}",), "/lib/l",
            f"'/lib' {NO_WAY}"),
        _row("T3 two links", ("symlink a b", "symlink b {out}/dir"), "/a/l", f"'/a' {NO_WAY}"),
        _row("T3 link below a link", ("dir x", "symlink a x", "symlink x/y {out}"), "/a/y/l",
            f"'/a/y' {NO_WAY}"),
        _row("T3 parent dangles", ("symlink lib /new/folder",), "/lib/l", f"'/lib' {NO_WAY}"),
        _row("T3 at the last name", ("symlink l {out}/file",), "/l", ""),
        _row("T3 at the last name, a folder", ("symlink l {out}/dir",), "/l", ""),
        _row("T10 the same text in the host's folder", ("symlink lib {out}",), "/lib/same",
            f"'/lib' {NO_WAY}"),
        _row("T2 a folder the spec mounts into", ("symlink firmware {out}",), "/firmware/nvidia/l",
            f"'/firmware' {NO_WAY}"),
        _row("T7 etc", ("symlink etc {out}",), "/etc/l", f"'/etc' {NO_WAY}"),
        _row("T7 usr", ("symlink usr {out}",), "/usr/lib/x86_64-linux-gnu/l", f"'/usr' {NO_WAY}"),
        _row("T7 run", ("symlink run ../outside",), "/run/l", f"'/run' {NO_WAY}"),
        _row("T7 tmp", ("symlink tmp ../outside",), "/tmp/l", f"'/tmp' {NO_WAY}"),
        _row("T7 dev", ("symlink dev {out}",), "/dev/dri/l", f"'/dev' {NO_WAY}"),
        _row("T1 magic link without proc", ("symlink lib /proc/1/root",), "/lib/l",
            f"'/lib' {NO_WAY}"),
        _row("parent a file", ("file lib x",), "/lib/l",
            "'/lib' is a regular file, not a directory"),
        _row("parent a fifo", ("fifo lib",), "/lib/l", "'/lib' is a fifo, not a directory"),
        _row("parent a socket", ("socket lib",), "/lib/l", "'/lib' is a socket, not a directory"),
        _row("parent a device", ("char lib 1 5",), "/lib/l",
            "'/lib' is a character device, not a directory"),
        _row("parent a link to a fifo", ("fifo f", "symlink lib f"), "/lib/l", f"'/lib' {NO_WAY}"),
        _row("parent loops", ("symlink lib lib",), "/lib/l", f"path '/lib' {REFUSED}"),
        _row("parents loop", ("symlink a b", "symlink b c", "symlink c a"), "/a/l",
            f"path '/a' {REFUSED}"),
        _row("a fifo in place", ("fifo l",), "/l", ""),
        _row("a socket in place", ("socket l",), "/l", ""),
        _row("a device in place", ("block l 7 0",), "/l", ""),
        _row("a directory in place", ("dir l",), "/l", "'l' is a directory"),
        _row("links inside, absolute", ("symlink run /var/run", "dir var/run"), "/run/l", ""),
        _row("links inside, to the root", ("symlink a /", "symlink b a/a/a"), "/b/l", ""),
        _row("a name of 255 bytes", (), "/" + "n" * 255, ""),
        _row("a name of 256 bytes", (), "/" + "n" * 256, "File name too long"),
        _row("a path of 5000 bytes", (), "/n" * 2500, "File name too long"),
    ],
    indirect=["image"],
)  # fmt: skip
def test_create_symlinks(image: Image, link: str, says: str) -> None:
    done = image.attack("create-symlinks", "--link", f"target::{link}")
    if says:
        assert done.status == 1
        assert done.stderr.startswith("pyshim-hook: createContainer hook create-symlinks failed: ")
        assert says in done.stderr
    else:
        assert (done.status, done.stderr) == (0, "")
        made = [name for name in names(image.root) if (image.root / name).is_symlink()]
        assert "target" in [os.readlink(image.root / name) for name in made]


@pytest.mark.parametrize(("length", "status"), [(38, 0), (45, 1), (500, 1)])
def test_chains_of_links(tmp_path: Path, length: int, status: int) -> None:
    image = Image(tmp_path, "dir end")
    link_chain(image.root, length, "end")
    done = image.attack("create-symlinks", "--link", "target::/chain0/l")
    assert done.status == status
    assert (image.root / "end/l").is_symlink() is not bool(status)
    assert bool(status) is (REFUSED in done.stderr)


@pytest.mark.parametrize(
    "target",
    [
        pytest.param("{out}/file", id="the host"),
        pytest.param("../../../../../../etc/shadow", id="dots"),
        pytest.param("/proc/1/root/etc/shadow", id="magic"),
        pytest.param("a,b", id="comma"),
        pytest.param("line\nline", id="newline"),
        pytest.param("$(touch /executed)`id`;'\"", id="shell"),
        pytest.param("%n%s%x", id="format"),
        pytest.param("x" * 4095, id="4095 bytes"),
        pytest.param("--link", id="flag"),
        pytest.param("\x1b[31m\x07", id="terminal"),
    ],
)
def test_a_target_is_only_text(tmp_path: Path, target: str) -> None:
    """What a link leads to is the container's matter: there the host is not in reach."""
    image = Image(tmp_path)
    assert image.attack("create-symlinks", "--link", f"{target}::/l").status == 0
    assert os.readlink(image.root / "l") == target.format(out=image.outside)


@pytest.mark.parametrize(
    "path",
    [
        pytest.param("/a,b::/c", id="comma and colons"),
        pytest.param("a\nb", id="newline"),
        pytest.param("-rf", id="dash"),
        pytest.param("$(touch /executed)", id="shell"),
        pytest.param("caf\udce9", id="not utf-8"),
        pytest.param("...", id="three dots"),
        pytest.param(" ", id="blank"),
    ],
)
def test_odd_names(tmp_path: Path, path: str) -> None:
    image = Image(tmp_path)
    done = image.attack("create-symlinks", "--link", f"target::/d/{path}")
    if "::" in path:
        assert done.status == 1
        assert "is not TARGET::LINK" in done.stderr
        assert names(image.root) == []
    else:
        assert (done.status, done.stderr) == (0, "")
        assert os.readlink(image.root / "d" / path) == "target"


@pytest.mark.parametrize(
    ("image", "path", "says"),
    [
        pytest.param(("symlink x {out}/dir",), "/x", "is a symbolic link",
            id="T9 link to the host"),
        pytest.param(("symlink x {out}/setuid",), "x", "is a symbolic link",
            id="T9 setuid program"),
        pytest.param(("symlink x {out}",), "/x/dir", "", id="T9 below a link to the host"),
        pytest.param((), "../outside/dir", "", id="T9 dots"),
        pytest.param((), "../../../../../../../..{out}/file", "", id="T9 more dots"),
        pytest.param(("symlink x ../outside",), "/x/file", "", id="T9 relative link"),
        pytest.param(("symlink x /proc/1/root",), "/x{out}/file", "", id="T9 magic"),
        pytest.param(("symlink x x",), "/x", "is a symbolic link", id="loop"),
        pytest.param(("symlink x x",), "/x/y", REFUSED, id="below a loop"),
        pytest.param(("symlink y z", "dir z", "symlink x y"), "/x", "is a symbolic link",
            id="link inside"),
        pytest.param(("dir dev", "symlink dev/dri {out}/dir"), "/dev/dri", "is a symbolic link",
            id="/dev/dri"),
    ],
    indirect=["image"],
)  # fmt: skip
@pytest.mark.parametrize("mode", ["777", "4777"])
def test_chmod(image: Image, path: str, says: str, mode: str) -> None:
    done = image.attack("chmod", "--mode", mode, "--path", path)
    assert done.status == bool(says)
    assert says in done.stderr


def test_chmod_of_a_hard_link_to_the_host(tmp_path: Path) -> None:
    image = Image(tmp_path)
    os.link(image.outside / "file", image.root / "x")
    done = image.attack("chmod", "--mode", "777", "--path", "/x")
    assert done.status == 1
    assert "'/x' has 2 hard links: its mode is not set" in done.stderr


def test_chmod_opens_no_fifo_and_no_device(tmp_path: Path) -> None:
    image = Image(tmp_path, "fifo f", "char tape 9 128", "socket s")
    args = [word for name in ("f", "tape", "s") for word in ("--path", name)]
    assert image.attack("chmod", "--mode", "600", *args).status == 0
    for name in ("f", "tape", "s"):
        assert stat.S_IMODE((image.root / name).lstat().st_mode) == 0o600


@isolated
@pytest.mark.parametrize(
    "args",
    [
        pytest.param(("create-symlinks", "--link", "t::/magic/l"), id="link"),
        pytest.param(("create-symlinks", "--link", "t::/proc/self/cwd/l"), id="cwd"),
        pytest.param(("create-symlinks", "--link", "t::/fd/l"), id="fd"),
        pytest.param(("chmod", "--mode", "777", "--path", "/magic/file"), id="chmod"),
        pytest.param(("update-ldcache", "--folder", "/magic"), id="folder"),
    ],
)
def test_t1_magic_links_of_a_real_proc(tmp_path: Path, args: tuple[str, ...]) -> None:
    """The runtime has mounted /proc when hooks run; its links lead wherever a process is."""
    image = Image(
        tmp_path, "dir proc", "symlink magic /proc/self/root{out}", "symlink fd /proc/self/fd/0",
        "dir etc",
    )  # fmt: skip
    syscalls.mount("proc", str(image.root / "proc"), "proc", 0)
    before = snapshot(image.outside)
    done = call(image.root, *args)
    assert snapshot(image.outside) == before
    assert done.seconds < PROMPT
    if args[0] == "update-ldcache":
        assert done.status in (0, 1)
    else:
        assert done.status == 1
        assert REFUSED in done.stderr


@pytest.mark.parametrize(
    ("good", "evil"),
    [
        pytest.param("dir lib/a", "symlink lib/b {out}", id="T1 T3 folder and link out"),
        pytest.param("dir lib/a", "symlink lib/b ../../outside", id="T3 folder and dots"),
        pytest.param(
            "symlink lib/a /data", "symlink lib/b {out}/dir", id="T3 link in and link out"
        ),
        pytest.param("dir lib/a", "fifo lib/b", id="T8 folder and fifo"),
        pytest.param("file lib/a/x x", "symlink lib/b {out}/dir", id="T9 file and link out"),
    ],
)
def test_a_second_container_swaps_in_a_shared_volume(tmp_path: Path, good: str, evil: str) -> None:
    """CVE-2025-23359 and 2026-24260: at least 10,000 swaps while hooks run, one after another."""
    image = Image(tmp_path, "dir data", good, evil)
    before = snapshot(image.outside)
    hook = (
        "chain", "create-symlinks", "--link", "t::/lib/a/x", "--link", "t::/lib/b/y/z",
        "--next", "chmod", "--mode", "4777", "--path", "/lib/a", "--path", "/lib/b/file",
    )  # fmt: skip
    seen = set()
    with Swapper(image.root / "lib/a", image.root / "lib/b") as swapper:
        end = time.monotonic() + 20
        while swapper.swaps < 10_000 and time.monotonic() < end:
            done = call(image.root, *hook)
            assert done.seconds < PROMPT
            assert "Traceback" not in done.stderr
            seen.add(done.status)
        assert swapper.swaps >= 10_000
    assert seen <= {0, 1}
    assert snapshot(image.outside) == before


def test_the_root_itself_swapped(tmp_path: Path) -> None:
    """The rootfs is opened once: who swaps it later gets no link into the other folder."""
    image = Image(tmp_path, "dir d")
    make_tree(tmp_path, f"symlink evil {image.outside}")
    before = snapshot(image.outside)
    with Swapper(tmp_path / "root", tmp_path / "evil") as swapper:
        for _ in range(20):
            done = call(tmp_path / "root/.", "create-symlinks", "--link", "t::/d/l")
            assert done.status in (0, 1)
        assert swapper.swaps > 0
    # The bundle is the engine's, so that a swapped one leads where it leads; but no further.
    assert set(snapshot(image.outside)) - set(before) <= {"d", "d/l"}


def test_a_hostile_tree_and_every_hook(tmp_path: Path) -> None:
    """One chain of all hooks on the tree that has everything: an answer, and nothing outside."""
    outside = tmp_path / "outside"
    root = hostile_tree(tmp_path / "root", outside)
    before = snapshot(outside)
    for hook in (
        ("create-symlinks", "--link", "t::/run/l"),
        ("enable-cuda-compat", "--host-driver-version", "570.1", "--cuda-compat-container-root",
            "/out"),
        ("enable-cuda-compat", "--host-driver-version", "570.1", "--cuda-compat-container-root",
            "/magic-root"),
        ("update-ldcache", "--folder", "/out", "--folder", "/dots-out"),
        ("create-soname-symlinks", "--folder", "/out"),
        ("update-application-profile",),
        ("disable-device-node-modification",),
        ("chmod", "--mode", "777", "--path", "/out"),
    ):  # fmt: skip
        done = measured(root, *hook)
        assert done.seconds < PROMPT, (hook, done)
        assert done.peak_kib < MEMORY_KIB, (hook, done)
        assert "Traceback" not in done.stderr, done
        assert snapshot(outside) == before, hook


def test_a_directory_where_our_litter_would_be(tmp_path: Path) -> None:
    """The image can make its own start fail, and is told by what."""
    image = Image(tmp_path, "file l x", "dir .pyshim-l")
    before = snapshot(image.root)
    done = call(image.root, "create-symlinks", "--link", "t::/l")
    assert done.status == 1
    assert "failed: /l -> t: Is a directory" in done.stderr
    assert names(image.root) == [".pyshim-l", "l"]
    assert snapshot(image.root)["l"] == before["l"]


@isolated
def test_a_directory_of_100_000_names(tmp_path: Path) -> None:
    image = Image(tmp_path)
    syscalls.mount("none", str(image.root), "tmpfs", 0)  # a disk takes 20 seconds
    (image.root / "d").mkdir()
    fd = os.open(image.root / "d", os.O_RDONLY)
    for number in range(100_000):
        os.symlink("x", str(number), dir_fd=fd)
    os.close(fd)
    before = snapshot(image.outside)
    done = measured(image.root, "create-symlinks", "--link", "t::/d/new", "--link", "t::/d/7")
    assert (done.status, done.stderr) == (0, "")
    assert done.seconds < PROMPT
    assert done.peak_kib < MEMORY_KIB
    assert os.readlink(image.root / "d/7") == "t"
    assert snapshot(image.outside) == before
