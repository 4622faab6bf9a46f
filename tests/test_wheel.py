"""The wheel and the source distribution: what they hold, and that they work in any environment.

Built with .venv's setuptools, from a copy: a build folder in the working tree would be packed again.
The environment they are installed into shares nothing with .venv but the libraries of others.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

from ocishim import __version__

ROOT = Path(__file__).parents[1]
BUILDS = ("Makefile", "binary", "tools")
"""What `make binary` needs beside the package."""
PARTS = (
    *("*.md", "LICENSE", "MANIFEST.in", "pyproject.toml", "ocishim", "hooks", "deploy", "docs"),
    *("tests", *BUILDS),
)
STRANGER = """\
[build-system]
requires = ["setuptools"]
build-backend = "setuptools.build_meta"
[project]
name = "hooks-of-somebody"
version = "1"
[tool.setuptools]
packages = ["hooks"]
"""
NO_BUNDLE = (
    "pyshim: NODE/config.json: does not exist (--bundle must name a directory with a config.json)\n"
)
BUILD = (
    "import sys; from setuptools import build_meta; getattr(build_meta, sys.argv[1])(sys.argv[2])"
)


def build(source: Path, what: str, to: Path) -> Path:
    """Have setuptools build `what` of the project in `source`; return the one file made."""
    to.mkdir()
    subprocess.run(
        [sys.executable, "-c", BUILD, f"build_{what}", str(to)],
        cwd=source, check=True, capture_output=True,
    )  # fmt: skip
    (made,) = to.iterdir()
    return made


@pytest.fixture(name="source", scope="module")
def _source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    copy = tmp_path_factory.mktemp("source")
    for path in (found for part in PARTS for found in ROOT.glob(part)):
        if path.is_dir():
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(path, copy / path.name, symlinks=True, ignore=ignored)
        else:
            shutil.copy(path, copy)
    return copy


@pytest.fixture(name="wheel", scope="module")
def _wheel(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(source, "wheel", tmp_path_factory.mktemp("wheel") / "dist")


@pytest.fixture(name="sdist", scope="module")
def _sdist(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source distribution, unpacked."""
    folder = tmp_path_factory.mktemp("sdist")
    archive = build(source, "sdist", folder / "dist")
    # Python before 3.11.4 has no filter for what it unpacks, and 3.12 warns where none is named.
    subprocess.run(["tar", "-xf", archive, "-C", folder], check=True)
    return folder / f"pyshim-{__version__}"


def members(wheel: Path) -> dict[str, bytes]:
    """Return the wheel's files with their content, but for the list of them."""
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist() if "/RECORD" not in name}


def test_one_import_name(wheel: Path) -> None:
    info = f"pyshim-{__version__}"
    tops = {name.split("/")[0] for name in members(wheel)}
    assert tops == {"ocishim", f"{info}.dist-info", f"{info}.data"}


def test_every_module_is_packed(wheel: Path) -> None:
    there = [*ROOT.glob("ocishim/**/*.*"), *ROOT.glob("hooks/*.*")]
    kinds = (".py", ".sh", ".json", ".toml")
    names = {str(path.relative_to(ROOT)) for path in there if path.suffix in kinds}
    packed = {name for name in members(wheel) if name.startswith("ocishim/")}
    assert packed == {"ocishim/" * name.startswith("hooks/") + name for name in names}


def test_licence(wheel: Path, sdist: Path) -> None:
    info = f"pyshim-{__version__}.dist-info"
    files = members(wheel)
    licence = (ROOT / "LICENSE").read_bytes()
    assert files[f"{info}/licenses/LICENSE"] == (sdist / "LICENSE").read_bytes() == licence
    metadata = files[f"{info}/METADATA"].decode().splitlines()
    assert "License-Expression: Apache-2.0" in metadata
    assert f"Version: {__version__}" in metadata


def test_the_source_distribution_makes_the_same_wheel(
    wheel: Path, sdist: Path, tmp_path: Path
) -> None:
    assert members(build(sdist, "wheel", tmp_path / "dist")) == members(wheel)
    for name in ("CHANGELOG.md", "SECURITY.md", "CONTRIBUTING.md", "docs/security.md"):
        assert (sdist / name).read_bytes() == (ROOT / name).read_bytes()


def test_the_source_distribution_builds_the_static_file(sdist: Path) -> None:
    """Whoever hands the file on owes its source: binary/README.md."""
    listed = subprocess.run([ROOT / "tools/files.sh"], check=True, stdout=subprocess.PIPE).stdout
    names = {os.path.normpath(name) for name in os.fsdecode(listed).split("\0")[:-1]}
    builds = [name for name in names if name.startswith(BUILDS)]
    assert len(builds) > 50
    for name in builds:
        assert (sdist / name).read_bytes() == (ROOT / name).read_bytes()
        assert os.access(sdist / name, os.X_OK) == os.access(ROOT / name, os.X_OK)
    assert not (sdist / "tests").exists()


def stranger(folder: Path) -> Path:
    """Return the wheel of somebody else's package `hooks`."""
    source = folder / "stranger"
    (source / "hooks").mkdir(parents=True)
    (source / "pyproject.toml").write_text(STRANGER)
    (source / "hooks/__init__.py").write_text("WHOSE = 'somebody else'\n")
    return build(source, "wheel", folder / "dist")


def install(folder: Path, wheels: list[Path]) -> Path:
    """Make an environment with `wheels` and .venv's libraries; return its folder of programs.

    The libraries come by a .pth file: .venv's own .pth, which has this working tree, is not read.
    """
    venv.create(folder, symlinks=True)
    python = f"python{sys.version_info.major}.{sys.version_info.minor}"
    libraries = next(path for path in sys.path if path.endswith("site-packages"))
    (folder / f"lib/{python}/site-packages/libraries.pth").write_text(libraries + "\n")
    pip = [sys.executable, "-m", "pip", "--python", str(folder / "bin/python"), "install"]
    options = ["--no-deps", "--no-index", "--quiet", "--disable-pip-version-check"]
    for wheel in wheels:
        subprocess.run([*pip, *options, str(wheel)], check=True, capture_output=True)
    return folder / "bin"


@pytest.fixture(name="programs", scope="module", params=["pyshim first", "pyshim last"])
def _programs(
    request: pytest.FixtureRequest, wheel: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The programs of an environment that has somebody else's `hooks`, too."""
    folder = tmp_path_factory.mktemp("node")
    wheels = [wheel, stranger(folder)]
    programs = install(folder / "env", wheels[:: 1 if request.param == "pyshim first" else -1])
    runtime = folder / "runc"
    runtime.write_text('#!/bin/sh\necho "runc: $*"\n')
    runtime.chmod(0o755)
    (folder / "config.toml").write_text(f'runtimes = ["{runtime}"]\n')
    (folder / "rootfs/lib").mkdir(parents=True)
    return programs


def run(programs: Path, line: str) -> tuple[int, str, str]:
    """Run a command line; return exit status, stdout and stderr with the folders' names taken out."""
    folder = programs.parents[1]
    words = [word.format(programs=programs, folder=folder) for word in line.split()]
    own = {"PYSHIM_CONFIG": str(folder / "config.toml"), "PYSHIM_CACHE_DIR": str(folder / "cache")}
    done = subprocess.run(
        [programs / words[0], *words[1:]],
        cwd=folder, env={"PATH": "/usr/bin:/bin", **own},
        stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
    )  # fmt: skip
    site = next((programs.parent / "lib").glob("python3*/site-packages"))
    told = (
        text.replace(str(site), "SITE").replace(str(folder), "NODE")
        for text in (done.stdout, done.stderr)
    )
    return done.returncode, *told  # type: ignore[return-value]


def test_both_packages_are_importable(programs: Path) -> None:
    (programs.parents[1] / "both.py").write_text(
        "import hooks, ocishim.hooks.program\n"
        "print(hooks.WHOSE, hooks.__file__, ocishim.hooks.program.__file__)\n"
    )
    told = "somebody else SITE/hooks/__init__.py SITE/ocishim/hooks/program.py\n"
    assert run(programs, "python both.py") == (0, told, "")


@pytest.mark.parametrize(
    ("line", "told"),
    [
        pytest.param(
            "pyshimctl --version", (0, f"pyshimctl, version {__version__}\n", ""), id="pyshimctl"
        ),
        pytest.param("pyshim state c1", (0, "runc: state c1\n", ""), id="pyshim passes through"),
        pytest.param("pyshim create c1", (1, "", NO_BUNDLE), id="pyshim create, in Python"),
        pytest.param(
            "pyshim-hook --version", (0, f"pyshim-hook {__version__}\n", ""), id="pyshim-hook"
        ),
    ],
)
def test_every_program_runs(programs: Path, line: str, told: tuple[int, str, str]) -> None:
    assert run(programs, line) == told


def test_a_hook_of_the_wheel_does_its_work(programs: Path) -> None:
    line = "pyshim-hook chain --rootfs {folder}/rootfs create-symlinks --link d.so::/lib/c.so"
    assert run(programs, line) == (0, "", "")
    assert os.readlink(programs.parents[1] / "rootfs/lib/c.so") == "d.so"
