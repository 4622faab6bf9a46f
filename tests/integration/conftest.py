"""Real runtimes and engines, in a mount namespace of the test session's own.

Every test is followed by a look for what it left on the node: mounts, processes, cgroups, loop
devices, files. Leaves building to tools/lab.
"""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

from tests.conftest import need
from tests.integration import youki
from tools.lab import cgroups, driver, leaks, namespace, rootfs
from tools.lab.bundle import Bundle, make_spec
from tools.lab.compiler import Compiler
from tools.lab.runtime import Result, crun_without_cgroups
from tools.lab.shim import PROGRAMS, Shim, install

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

DATA = Path(__file__).parents[1] / "data"
TOKEN = f"pyshim-test-{os.getpid()}"
# A runtime's helpers may outlive its command by a moment: containerd's shims, zombies' parents.
_SETTLE = 30.0


@pytest.fixture(scope="session", autouse=True)
def _private_node() -> None:
    if os.geteuid() == 0:
        namespace.enter()
        namespace.adopt_orphans()


@pytest.fixture(autouse=True)
def _leaves_nothing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    images = str(tmp_path_factory.getbasetemp())
    before = leaks.snapshot(TOKEN, images)
    yield
    deadline = time.monotonic() + _SETTLE
    while (left := leaks.snapshot(TOKEN, images) - before) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not left, "left behind:\n" + "\n".join(sorted(left))


@pytest.fixture(scope="session")
def compiler(tmp_path_factory: pytest.TempPathFactory) -> Compiler:
    """Return gcc with the session's finished files."""
    need("gcc")
    return Compiler(tmp_path_factory.mktemp("compiled"))


@pytest.fixture(scope="session")
def busybox(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A busybox root file system to copy; nobody writes to it."""
    need("busybox")
    return rootfs.make_busybox(tmp_path_factory.mktemp("busybox"))


@pytest.fixture(scope="session")
def glibc(tmp_path_factory: pytest.TempPathFactory, compiler: Compiler) -> Path:
    """A busybox root file system with glibc and /bin/load, which loads libraries by name."""
    need("busybox")
    tree = rootfs.make_busybox(tmp_path_factory.mktemp("glibc"))
    rootfs.add_program(tree, compiler.loader(), "/bin/load")
    return tree


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave youki's own tests to make test-youki: it takes minutes to build."""
    return (collection_path.name == "test_youki.py" and not config.getoption("--as-runc")) or None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Expect of youki what it is known to fail."""
    for item in items if config.getoption("--as-runc") else ():
        name = getattr(item, "originalname", "")
        if name in youki.DIFFERENT:
            reason = f"youki: {youki.DIFFERENT[name]}"
            item.add_marker(pytest.mark.xfail(reason=reason, strict=True))
        if name in youki.UNSURE:
            item.add_marker(pytest.mark.skip(f"youki: {youki.UNSURE[name]}"))


@pytest.fixture(scope="session")
def lowlevels(
    tmp_path_factory: pytest.TempPathFactory,
    pytestconfig: pytest.Config,
) -> dict[str, Path]:
    """The low-level runtimes by name, as programs that run on this machine."""
    found = {}
    instead: Path | None = pytestconfig.getoption("--as-runc")
    if instead:
        found["runc"] = instead.resolve(strict=True)
    elif shutil.which("runc"):
        found["runc"] = Path(str(shutil.which("runc")))
    if shutil.which("crun"):
        found["crun"] = crun_without_cgroups(tmp_path_factory.mktemp("crun"))
    return found


@pytest.fixture(params=["runc", "crun"])
def lowlevel(request: pytest.FixtureRequest, lowlevels: dict[str, Path]) -> Path:
    """Each low-level runtime in turn."""
    need(request.param)
    return lowlevels[request.param]


@pytest.fixture
def shim(tmp_path: Path, lowlevel: Path, programs: Path) -> Shim:
    """pyshim, configured in the test's folder, in front of `lowlevel`."""
    return Shim(tmp_path / "pyshim", lowlevel, programs)


@pytest.fixture(scope="session")
def programs() -> Iterator[Path]:
    """The folder of pyshim and pyshim-hook, where a container's root can come to.

    A checkout below /root is none: there pyshim is installed elsewhere, as its message demands,
    and not below pytest's folder, which every session closes for all others.
    """
    assert (PROGRAMS / "pyshim").exists(), "run make venv first"
    if all(folder.stat().st_mode & stat.S_IXOTH for folder in PROGRAMS.parents):
        yield PROGRAMS
        return
    with tempfile.TemporaryDirectory(prefix="pyshim-programs-") as name:
        install(Path(name))
        yield Path(name) / "bin"


class Node:
    """One test's node: its folder, pyshim on it, and bundles made in a line."""

    def __init__(self, folder: Path, shim: Shim, compiler: Compiler) -> None:
        self.folder = folder
        self.shim = shim
        self.compiler = compiler
        # `youki run` 0.7.0 waits forever for a container that ended before it began to wait.
        self.slow_end = Path(shim.lowlevel).name == "youki"
        self.driver_root = folder / "driver"
        self.documents: list[driver.Document] = []
        self.container = f"{TOKEN}-{folder.name[-40:]}"

    def add_spec(
        self,
        template: str,
        change: Callable[[driver.Document], None] | None = None,
    ) -> None:
        """Put tests/data/`template` into the spec dir, with a driver root to match.

        `change` may edit the document before.
        """
        text = driver.text_of(DATA / template, self.driver_root)
        if change is not None:
            document = yaml.safe_load(text)
            change(document)
            text = yaml.safe_dump(document)
        self.shim.add_spec(template, text)
        self.documents.append(driver.build(text, self.compiler))

    def add_mount_points(self, tree: Path) -> None:
        """Make the mount points of the specs so far in `tree`, soon to be read-only."""
        for document in self.documents:
            driver.add_mount_points(document, tree)

    def bundle(self, tree: Path | None, script: str, **options: object) -> Bundle:
        """Make a bundle that runs the shell `script`; `tree` is copied to be its rootfs.

        Without `tree` the caller names root. `options` go to make_spec.
        """
        if self.slow_end:
            script = f"trap 'sleep 0.3' EXIT; {script}"
        bundle = Bundle(self.folder / "bundle")
        if tree is not None:
            shutil.copytree(tree, bundle.rootfs, symlinks=True)
        spec = make_spec(["/bin/sh", "-c", script], **options)  # type: ignore[arg-type]
        spec["linux"]["cgroupsPath"] = f"/{self.container}"
        bundle.write(spec)
        return bundle

    def run(self, bundle: Bundle, *options: str) -> Result:
        """`pyshim run` the bundle under the test's container id."""
        return self.shim.run(bundle, self.container, *options)


@pytest.fixture
def node(tmp_path: Path, shim: Shim, compiler: Compiler) -> Iterator[Node]:
    """The test's node; its container is gone afterwards even when the test failed."""
    node = Node(tmp_path, shim, compiler)
    yield node
    # runc 1.1 tries for 0.3 s to remove the group, which a killed process may take longer to leave.
    if shim.delete(node.container).returncode:
        cgroups.remove(node.container)
