"""The file of compiled modules: what it saves, and that nothing depends on it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from importlib.machinery import ExtensionFileLoader, ModuleSpec
from pathlib import Path

import pytest

from ocishim import preload
from ocishim.admin import launchers, preloading

REPOSITORY = Path(__file__).parents[2]
TOLD = (
    "import sys; found = sorted(n for n in sys.modules if n.startswith('ocishim'));"
    "print(*found, sep='\\n', file=sys.stderr)"
)


class Copy:
    """A copy of the packages with programs that find it, both to be spoiled."""

    def __init__(self, folder: Path) -> None:
        self.library = folder / "library"
        for package in ("ocishim",):
            ignore = shutil.ignore_patterns("__pycache__", "admin")
            shutil.copytree(REPOSITORY / package, self.library / package, ignore=ignore)
        for name in ("__init__", "boot", "files", "host", "preloading", "slimming", "utf8"):
            target = self.library / f"ocishim/admin/{name}.py"
            target.parent.mkdir(exist_ok=True)
            shutil.copy2(REPOSITORY / f"ocishim/admin/{name}.py", target)
        self.bin = folder / "bin"
        self.bin.mkdir()
        python = launchers.interpreter()
        programs = launchers.texts(str(self.bin), python, str(self.library), "/nowhere")
        for name, text in programs.items():
            (self.bin / name).write_text(text)
            (self.bin / name).chmod(0o755)
        launchers.preload(python, str(self.library), str(self.bin))
        self.create = self.bin / preloading.NAMES["pyshim"]

    def run(self) -> subprocess.CompletedProcess[str]:
        """Start pyshim's Python for a create that fails at once, listing opened sources."""
        argv = [str(self.bin / "pyshim"), "create", "--bundle", "/nonexistent", "x"]
        env = {"PYSHIM_CONFIG": "/nonexistent", "PYSHIM_CACHE_DIR": "/nonexistent"}
        traced = ["strace", "-f", "-e", "trace=openat", "-o", str(self.bin / "trace"), *argv]
        return subprocess.run(
            traced, env={**os.environ, **env}, capture_output=True, text=True, check=False
        )

    def opened(self) -> list[str]:
        """Return which of our modules' files the last run opened."""
        text = (self.bin / "trace").read_text()
        return [line for line in text.splitlines() if str(self.library) in line and ".py" in line]


@pytest.fixture
def copy(tmp_path: Path) -> Copy:
    return Copy(tmp_path)


MESSAGE = "pyshim: /nonexistent/config.json: does not exist"


def test_no_module_is_searched_for(copy: Copy) -> None:
    assert MESSAGE in copy.run().stderr
    assert copy.opened() == []


def truncate(copy: Copy) -> None:
    copy.create.write_bytes(copy.create.read_bytes()[:3])


def other_interpreter(copy: Copy) -> None:
    data = copy.create.read_bytes()
    copy.create.write_bytes(b"\0\0\r\n" + data[4:])


def source_edited(copy: Copy) -> None:
    with open(copy.library / "ocishim/argv.py", "a", encoding="utf-8") as file:
        file.write("# a remark\n")


def source_gone(copy: Copy) -> None:
    (copy.library / "ocishim/visible.py").rename(copy.library / "ocishim/visible.pyx")
    (copy.library / "ocishim/visible").mkdir()
    shutil.copy(copy.library / "ocishim/visible.pyx", copy.library / "ocishim/visible/__init__.py")


@pytest.mark.parametrize(
    "spoil", [truncate, other_interpreter, source_edited, source_gone, lambda c: c.create.unlink()]
)
def test_whatever_is_wrong_with_it_imports_work_as_ever(copy: Copy, spoil: object) -> None:
    spoil(copy)  # type: ignore[operator]
    assert MESSAGE in copy.run().stderr
    assert copy.opened() != []


def test_an_edit_takes_effect_at_once(copy: Copy) -> None:
    path = copy.library / "ocishim/oci/bundle.py"
    path.write_text(path.read_text().replace('"{path}: {reason(err)}"', '"{path}: edited"'))
    assert MESSAGE not in copy.run().stderr


def test_an_installed_copy_is_not_compared_with_its_sources(copy: Copy, tmp_path: Path) -> None:
    final = tmp_path / "final"
    library = copy.library
    script = library / "ocishim/admin/preloading.py"
    python = launchers.interpreter()
    argv = [python, *preloading.OPTIONS, str(script), str(library), str(copy.bin), str(final)]
    subprocess.run(argv, check=True)
    library.rename(final)
    for path in final.rglob("*.py"):
        os.utime(path, (0, 0))
    main = copy.bin / launchers.MAIN
    main.write_text(main.read_text().replace(str(library), str(final)))
    copy.library = final
    assert MESSAGE in copy.run().stderr
    assert copy.opened() == []


def test_every_module_of_the_file_comes_after_those_it_needs() -> None:
    """Run in the order noted, nothing is left for the import system but the library's own."""
    python = sys.executable
    for program in preloading.NAMES:
        code = (
            "import sys, marshal; sys.path.insert(0, sys.argv[1])\n"
            "from ocishim.admin import preloading as p\n"
            "from importlib.util import MAGIC_NUMBER as m\n"
            "data = p.Library(sys.argv[1], '').build(sys.argv[2])\n"
            "names = [entry[0] for entry in marshal.loads(data[len(m):])[1]]\n"
            "assert len(names) == len(set(names)) > 10, names\n"
            "assert '__future__' not in names\n"
        )
        subprocess.run([python, "-c", code, str(REPOSITORY), program], check=True)


def test_a_module_in_c_is_found_where_it_was(tmp_path: Path) -> None:
    """Not searched for; one whose file has moved is left to the usual finders."""
    there = tmp_path / "x.so"
    there.touch()
    finder = preload.Finder({}, {"x": str(there), "gone": str(tmp_path / "y.so")}, memoryview(b""))
    spec = finder.find_spec("x")
    assert isinstance(spec, ModuleSpec)
    assert isinstance(spec.loader, ExtensionFileLoader)
    assert spec.origin == str(there)
    assert finder.find_spec("gone") is None
    assert finder.find_spec("other") is None
