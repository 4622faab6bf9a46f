"""Packages of the static file: installed, used, upgraded and removed (make test-binary)."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import venv
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

from ocishim import __version__
from ocishim.admin.config.settings import default_text
from tests.conftest import need
from tests.integration import packaged
from tests.integration.conftest import TOKEN
from tools.lab.bundle import Bundle, make_spec
from tools.lab.shim import BINARY

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.integration.packaged import Root

pytestmark = [
    pytest.mark.root,
    pytest.mark.binary,
    pytest.mark.xdist_group("packaging"),
]

SPEC = """\
cdiVersion: 0.6.0
kind: acme.com/demo
devices:
- name: "0"
  containerEdits:
    deviceNodes: [{path: /dev/acme0, hostPath: /dev/null}]
    env: [ACME=zero]
    hooks:
    - hookName: createContainer
      path: /usr/bin/nvidia-ctk
      args: [nvidia-ctk, hook, create-symlinks, --link, "libacme.so.1::/usr/lib/libacme.so"]
"""
SCRIPT = 'busybox ls /dev/acme0; echo "$ACME"; busybox readlink /usr/lib/libacme.so'
EDITED = 'runtimes = ["crun"]\n'
LATER = 'runtimes = ["runc"]\n'
PROGRAMS = ["pyshim", "pyshim-hook", "pyshimctl"]


class Packages(NamedTuple):
    """The folder of packages, and each of them."""

    folder: Path
    deb: Path
    rpm: Path
    tarball: Path
    wheel: Path


def build(folder: Path) -> Packages:
    """Pack the static file."""
    for program in ("go-md2man", "rpmbuild", "dpkg-deb"):
        need(program)
    words = [sys.executable, "-m", "tools.packaging", str(folder), BINARY]
    subprocess.run(words, check=True, timeout=300)
    found = (next(folder.glob(f"*.{end}")) for end in ("deb", "rpm", "tar.gz", "whl"))
    return Packages(folder, *found)


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Packages:
    return build(tmp_path_factory.mktemp("packages") / "out")


@pytest.fixture(params=["bookworm", "trixie"])
def debian(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Root]:
    """A bare Debian of each release."""
    with packaged.root(request.param, tmp_path / "debian") as root:
        yield root


def install(root: Root, package: Path, *options: str) -> None:
    """Install a .deb as a person does."""
    shutil.copy(package, root.path / "tmp")
    done = root.run("dpkg", "-i", *options, f"/tmp/{package.name}")
    assert done.returncode == 0, done.stderr


def newer(package: Path, folder: Path) -> Path:
    """Return the package of a later version that brings LATER settings."""
    tree = folder / "newer"
    subprocess.run(["dpkg-deb", "-R", package, tree], check=True)
    control = tree / "DEBIAN/control"
    control.write_text(control.read_text().replace(f"Version: {__version__}", "Version: 99"))
    (tree / "etc/pyshim/config.toml").write_text(LATER)
    made = folder / "newer.deb"
    subprocess.run(["dpkg-deb", "-Znone", "-b", tree, made], check=True, stdout=subprocess.DEVNULL)
    return made


def test_the_same_bytes_twice(packages: Packages, tmp_path: Path) -> None:
    again = build(tmp_path / "again")
    for one, other in zip(packages[1:], again[1:], strict=True):
        assert one.name == other.name
        assert one.read_bytes() == other.read_bytes(), one.name


def test_the_licences_of_all_that_is_linked() -> None:
    """Also of what the compiler puts in, and of what CPython has from others."""
    listed = json.loads(Path(f"{BINARY}.spdx.json").read_text())["packages"]
    names = {one["name"].partition("-")[0] for one in listed}
    assert names >= {"libc6", "libgcc", "libcap", "libyaml", "zlib1g", "python3.13"}
    parts = re.split(r"^=+\n(.*)\n=+\n", Path(f"{BINARY}.licenses").read_text(), flags=re.MULTILINE)
    texts = dict(zip(parts[1::2], parts[2::2], strict=True))
    heads = [f"{one['name']} {one['versionInfo']}: {one['licenseDeclared']}" for one in listed]
    assert [*texts] == heads
    assert [head for head, text in texts.items() if "opyright" not in text] == []
    assert "Makoto Matsumoto" in texts[heads[1]]
    for one in listed:
        assert set("+ ").isdisjoint(one["externalRefs"][0]["referenceLocator"])


@pytest.mark.parametrize("umask", [0o077, 0o002])
def test_the_same_bytes_whoever_builds(tmp_path: Path, umask: int) -> None:
    """Of a small program, which is packed in no time."""
    program = tmp_path / "pyshim"
    shutil.copy(sys.executable, program)
    with program.open("r+b") as file:
        file.truncate(4096)
    for end in ("licenses", "spdx.json"):
        shutil.copy(f"{BINARY}.{end}", f"{program}.{end}")
    made = []
    for name, mask in (("one", 0o022), ("other", umask)):
        words = [sys.executable, "-m", "tools.packaging", str(tmp_path / name), str(program)]
        subprocess.run(words, check=True, timeout=300, umask=mask)
        made.append((tmp_path / name / "SHA256SUMS").read_text())
    assert made[0] == made[1]


def test_checksums(packages: Packages) -> None:
    lines = (packages.folder / "SHA256SUMS").read_text().splitlines()
    listed = dict(line.split()[::-1] for line in lines)
    assert listed == {
        one.name: hashlib.sha256(one.read_bytes()).hexdigest() for one in packages[1:]
    }


def test_a_deb_brings_three_programs(packages: Packages, debian: Root) -> None:
    install(debian, packages.deb)
    assert debian.done("pyshim", "--version").startswith("runc version ")
    assert debian.done("pyshim-hook", "--version") == f"pyshim-hook {__version__}\n"
    assert debian.done("pyshimctl", "--version") == f"pyshimctl, version {__version__}\n"
    report = json.loads(debian.done("pyshimctl", "version", "--json"))
    assert (report["program"], report["lowlevel"]["path"]) == ("/usr/bin/pyshim", "/usr/sbin/runc")
    digest = hashlib.sha256(Path(BINARY).read_bytes()).hexdigest()
    assert (report["file"]["path"], report["file"]["sha256"]) == ("/usr/bin/pyshim", digest)
    assert debian.done("pyshimctl", "config", "check") == "/etc/pyshim/config.toml: right\n"
    diff = debian.done("pyshimctl", "configure", "containerd", "--force", "--dry-run")
    assert 'BinaryName = "/usr/bin/pyshim"' in diff


def test_a_device_in_a_container(packages: Packages, debian: Root, busybox: Path) -> None:
    install(debian, packages.deb)
    bundle = Bundle(debian.path / "srv/bundle")
    shutil.copytree(busybox, bundle.rootfs, symlinks=True)
    spec = make_spec(["/bin/sh", "-c", SCRIPT], annotations={"cdi.k8s.io/demo": "acme.com/demo=0"})
    spec["linux"]["cgroupsPath"] = f"/{TOKEN}-packaged"
    bundle.write(spec)
    (debian.path / "etc/cdi").mkdir()
    (debian.path / "etc/cdi/acme.yaml").write_text(SPEC)
    told = debian.done("pyshim", "run", "--bundle", "/srv/bundle", "packaged")
    assert told == "/dev/acme0\nzero\nlibacme.so.1\n"


@pytest.mark.parametrize(
    ("own", "after"),
    [
        pytest.param(default_text(), LATER, id="as they came"),
        pytest.param(EDITED, EDITED, id="edited"),
    ],
)
def test_settings_on_upgrades(
    packages: Packages, debian: Root, tmp_path: Path, own: str, after: str
) -> None:
    install(debian, packages.deb)
    config = debian.path / "etc/pyshim/config.toml"
    assert config.read_text() == default_text()
    config.write_text(own)
    # Without it dpkg asks where both have changed.
    install(debian, newer(packages.deb, tmp_path), "--force-confdef")
    assert config.read_text() == after


def test_removal_keeps_settings_and_purge_nothing(packages: Packages, debian: Root) -> None:
    install(debian, packages.deb)
    debian.done("pyshimctl", "config", "set", "hooks.timeout=20")
    told = debian.done("dpkg", "-r", "pyshim").splitlines()
    # What its script asks is no news of what is removed.
    assert [line for line in told if not line.startswith(("(Reading", "Removing"))] == []
    assert debian.left() == ["etc/pyshim", "etc/pyshim/config.toml"]
    assert debian.run("dpkg", "-P", "pyshim").returncode == 0
    assert debian.left() == []


def test_no_script_but_the_one_before_removal(packages: Packages, tmp_path: Path) -> None:
    subprocess.run(["dpkg-deb", "-e", packages.deb, tmp_path / "control"], check=True)
    assert sorted(os.listdir(tmp_path / "control")) == ["conffiles", "control", "md5sums", "prerm"]
    scripts = rpm("-qp", "--scripts", "--triggers", str(packages.rpm))
    heads = [line for line in scripts.splitlines() if "scriptlet" in line or "trigger" in line]
    assert heads == ["preuninstall scriptlet (using <lua>):"]


def _used(root: Path) -> Path:
    """A bundle of containerd's in `root` that has pyshim as its runtime."""
    bundle = root / "run/containerd/io.containerd.runtime.v2.task/default/4f1c0d9e"
    bundle.mkdir(parents=True)
    (bundle / "options.json").write_text('{"binary_name": "/usr/bin/pyshim"}')
    return bundle


def test_removal_waits_for_containers(packages: Packages, debian: Root, tmp_path: Path) -> None:
    told = "pyshimctl: containerd 4f1c0d9e could not be stopped without /usr/bin/pyshim\n"
    install(debian, packages.deb)
    bundle = _used(debian.path)
    refused = debian.run("dpkg", "-r", "pyshim")
    assert (refused.returncode != 0, told in refused.stderr) == (True, True), refused
    assert debian.done("pyshim-hook", "--version") == f"pyshim-hook {__version__}\n"
    shutil.rmtree(bundle)
    assert debian.run("dpkg", "-r", "pyshim").returncode == 0

    root = tmp_path / "root"
    root.mkdir()
    rpm("--root", str(root), "-i", str(packages.rpm))
    _used(root)
    words = ["rpm", "--root", str(root), "-e", "pyshim"]
    gone = subprocess.run(words, check=False, capture_output=True, text=True)
    assert (gone.returncode, told in gone.stderr + gone.stdout) == (1, True), gone
    assert (root / "usr/bin/pyshim").exists()


def rpm(*words: str) -> str:
    """Run rpm; what it printed."""
    done = subprocess.run(["rpm", *words], check=False, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_an_rpm(packages: Packages, tmp_path: Path) -> None:
    """In a root that has nothing at all: the file needs nothing."""
    root = tmp_path / "root"
    root.mkdir()
    at = ("--root", str(root))
    rpm(*at, "-i", str(packages.rpm))
    assert rpm(*at, "-V", "pyshim") == ""
    for program in ("pyshim-hook", "pyshimctl"):
        words = ["chroot", str(root), f"/usr/bin/{program}", "--version"]
        told = subprocess.run(words, check=True, capture_output=True, text=True).stdout
        assert told.startswith(program)
        assert told.endswith(f" {__version__}\n")
    (root / "etc/pyshim/config.toml").write_text('runtimes = ["crun"]\n')
    assert rpm(*at, "-q", "--configfiles", "pyshim") == "/etc/pyshim/config.toml\n"
    assert rpm(*at, "-e", "pyshim") == ""
    left = [str(path.relative_to(root)) for path in root.rglob("*") if not path.is_dir()]
    own = ("rpm", ".rpmdb")  # elsewhere and Debian's: rpm's database
    names = [name for name in left if name.split("/")[-2] not in own]
    assert names == ["etc/pyshim/config.toml.rpmsave"]


def test_a_tarball(packages: Packages, tmp_path: Path) -> None:
    words = ["tar", "-xf", str(packages.tarball), "-C", str(tmp_path), "--strip-components=1"]
    subprocess.run(words, check=True)
    assert sorted(os.listdir(tmp_path)) == ["bin", "share"]
    assert sorted(os.listdir(tmp_path / "bin")) == PROGRAMS
    for name in ("README.md", "licenses.gz", "pyshim.spdx.json"):
        assert (tmp_path / "share/doc/pyshim" / name).stat().st_size
    told = subprocess.run(
        [tmp_path / "bin/pyshimctl", "--version"], check=True, capture_output=True
    )
    assert told.stdout.decode() == f"pyshimctl, version {__version__}\n"


class Environment:
    """A virtual environment with the wheel in it."""

    def __init__(self, folder: Path, wheel: Path) -> None:
        self.folder = folder
        venv.create(folder, symlinks=True)
        self.before = self.listing()
        self.pip("install", "--no-index", str(wheel))

    def pip(self, *words: str) -> None:
        pip = [sys.executable, "-m", "pip", "--python", str(self.folder / "bin/python")]
        subprocess.run([*pip, "--disable-pip-version-check", "-q", *words], check=True)

    def listing(self) -> list[str]:
        return sorted(str(path) for path in self.folder.rglob("*"))

    def run(self, program: Path | str, *words: str) -> tuple[int, str, str]:
        done = subprocess.run(
            [self.folder / "bin" / program, *words],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
            env={
                "PYSHIM_CONFIG": str(self.folder / "none"),
                "PYSHIM_CACHE_DIR": str(self.folder / "cache"),
            },
        )  # fmt: skip
        return done.returncode, done.stdout, done.stderr


@pytest.fixture
def environment(packages: Packages, tmp_path: Path) -> Environment:
    return Environment(tmp_path / "an environment", packages.wheel)


def test_a_wheel_brings_three_programs(environment: Environment) -> None:
    need("runc")
    _, version, _ = environment.run("pyshim", "--version")
    assert version.startswith(("runc version ", "crun version "))
    hook = (0, f"pyshim-hook {__version__}\n", "")
    ctl = (0, f"pyshimctl, version {__version__}\n", "")
    assert environment.run("pyshim-hook", "--version") == hook
    assert environment.run("pyshimctl", "--version") == ctl
    link = environment.folder / "pyshimctl"
    link.symlink_to("bin/pyshimctl")
    assert environment.run(link, "--version") == ctl
    _, report, _ = environment.run("pyshimctl", "version", "--json")
    assert json.loads(report)["program"] == f"{environment.folder}/bin/pyshim"


def test_a_wheel_has_no_python_in_it(environment: Environment) -> None:
    code = "import importlib.util as u; print(u.find_spec('ocishim'))"
    assert environment.run("python", "-I", "-c", code) == (0, "None\n", "")


def test_uninstalling_a_wheel_leaves_nothing(environment: Environment) -> None:
    environment.pip("uninstall", "-y", "pyshim")
    assert environment.listing() == environment.before
