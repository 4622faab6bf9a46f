"""The programs' launchers: what engines, runtimes and people start.

Usage: python -m ocishim.admin.launchers DIRECTORY

pyshim is a POSIX shell script (ocishim/launcher.sh) that starts Python only for a command that
edits a bundle; pyshimctl is another, which says so when the interpreter is gone. pyshim-hook is a
Python script that names an interpreter in its first line, the one of boot.py or the real one: a
shell, `env` or a version manager's wrapper costs time in every container's start. All find the
packages by absolute path. Leaves an installation's folders to installation.py.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import sysconfig

from ocishim import config, log
from ocishim.admin import boot, files, preloading
from ocishim.entry import hook_program
from ocishim.errors import ConfigError, shown

MAIN = ".pyshim-main.py"
CTL_MAIN = ".pyshimctl.py"

# A process of 10 ms has nothing to collect: 0.3 ms less (minimum of 120 alternating runs).
_NO_GC = "import gc\ngc.disable()\n"

_PATHS = """\
import sys
sys.path[:0] = [{library!r}]
sys.path.append({site!r})
"""

# Modules from one file where it is there and this interpreter's; else they are imported as ever.
_PRELOAD = """\
from _frozen_importlib_external import MAGIC_NUMBER
from marshal import loads
from posix import O_CLOEXEC, close, open, read
def preload(name):
    try:
        file = open({folder!r} + "/" + name, O_CLOEXEC)
        data = memoryview(read(file, 1 << 22))
        close(file)
    except OSError:
        return
    if data[:len(MAGIC_NUMBER)] == MAGIC_NUMBER:
        loader, now, later, extensions, size = loads(data[len(MAGIC_NUMBER):])
        scope = {{"__name__": "ocishim.preload"}}
        exec(loader, scope)
        scope["install"](now, later, extensions, data[len(data) - size:])
"""

_MAIN = (
    _NO_GC
    + _PATHS
    + _PRELOAD
    + f"""\
preload({preloading.NAMES["pyshim"]!r})
from ocishim.start import run
run(sys.argv)
"""
)

_HOOK = (
    "#!{python} -IS\n"
    + _NO_GC
    + _PATHS
    + _PRELOAD
    + f"""\
preload({preloading.NAMES["pyshim-hook"]!r})
from ocishim.hooks.program import start
start(sys.argv[1:])
"""
)

_CTL = (
    _PATHS
    + """\
try:
    from ocishim.admin.cli import main
except ImportError as err:
    sys.exit(f"pyshimctl: a part of pyshim is missing or damaged: {{err}}; install pyshim again")
main(prog_name="pyshimctl")
"""
)
_CTL_SHELL = """\
#!/bin/sh
[ -x {python} ] || {{ printf '%s\\n' {gone} >&2; exit 1; }}
exec {python} -I -S {script} "$@"
"""
_CALLED = '@MAIN@ "$0"'
"""Where the launcher passes on by which name it was called."""


def interpreter() -> str:
    """Return the path of the real interpreter behind this one, not a virtual environment's."""
    base: str = getattr(sys, "_base_executable", "") or sys.executable
    return os.path.realpath(base)


def library() -> str:
    """Return the directory that holds the package `ocishim`."""
    return os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def program() -> str:
    """Return the path of `pyshim` when this is an installed copy (PREFIX/lib/pyshim/NAME)."""
    prefix, _, name = library().rpartition("/lib/pyshim/")
    return f"{prefix}/bin/pyshim" if name and "/" not in name else ""


def programs() -> tuple[str, str]:
    """Return the paths of `pyshim` and `pyshim-hook`: of this installation, else on PATH.

    Raises ConfigError when pyshim is not installed.
    """
    beside = os.path.join(os.path.dirname(os.path.abspath(sys.argv[0])), "pyshim")
    own = (path for path in (program(), beside) if path and os.access(path, os.X_OK))
    found = next(own, None) or shutil.which("pyshim")
    if not found:
        raise ConfigError("pyshim is not installed", hint="run 'pyshimctl install'")
    return found, hook_program(found)


def texts(folder: str, python: str, library_dir: str, site: str) -> dict[str, str]:
    """Return the programs by name, as they will lie in `folder`.

    python: the interpreter. library_dir: the packages' folder; site: that of their dependencies.
    All are absolute paths on the machine where the programs run.
    """
    started = boot.program(folder)
    places = {"python": started, "library": library_dir, "site": site, "folder": folder}
    return {
        MAIN: _MAIN.format(**places),
        "pyshim": _shell(
            "ocishim/launcher.sh",
            PYTHON=started,
            MAIN=f"{folder}/{MAIN}",
            GONE=_gone("pyshim", python),
            JSON_RECORD=_record(_gone("pyshim", python), "json"),
            TEXT_RECORD=_record(_gone("pyshim", python), "text"),
        ),
        "pyshim-hook": _HOOK.format(**{**places, "python": _first_line(started, python)}),
        CTL_MAIN: _CTL.format(**places),
        "pyshimctl": _CTL_SHELL.format(
            python=shlex.quote(python),
            gone=shlex.quote(_gone("pyshimctl", python)),
            script=shlex.quote(f"{folder}/{CTL_MAIN}"),
        ),
    }


def _gone(name: str, python: str) -> str:
    """Return what the program `name` says when the interpreter is not there any more."""
    return f"{name}: the interpreter {shown(python)} is gone; install pyshim again"


def _record(message: str, log_format: str) -> str:
    """Return the engine's record of `message` as a format for printf(1), which adds the time."""
    text = log.record(message, log_format, "NOW").decode()
    for special in "\\%":
        text = text.replace(special, special * 2)
    before, _, after = text.rpartition("NOW") if log_format == "json" else text.partition("NOW")
    return f"{before}%s{after}"


def _first_line(started: str, python: str) -> str:
    """Return the interpreter that a script's first line can name.

    The kernel cuts there at the first blank, and after 255 bytes (execve(2)).
    """
    return started if not any(map(str.isspace, started)) and len(started) < 240 else python


def pinned(launcher: str, path: str) -> str:
    """Return the text of `pyshim` with its own path fixed, however it is called.

    An upgrade between the start of the shell and that of Python would otherwise let one version
    write the other's hook program into config.json.
    """
    mark = f"{_CALLED.replace('@MAIN@', shlex.quote(os.path.dirname(path) + '/' + MAIN))}"
    if mark not in launcher:
        raise ValueError("ocishim/launcher.sh does not pass its name on as it used to")
    return launcher.replace(mark, mark.replace('"$0"', shlex.quote(path)))


def _shell(source: str, **places: str) -> str:
    """Return a shell script of the packages with its @MARKS@ replaced."""
    with open(os.path.join(library(), source), encoding="utf-8") as file:
        text = file.read()
    for mark, value in places.items():
        text = text.replace(f"@{mark}@", shlex.quote(value))
    return text.replace("@CONFIG@", config.DEFAULT_PATH)


def write(directory: str) -> list[str]:
    """Write `pyshim` and `pyshim-hook` into `directory` for the packages where they lie.

    Returns the paths. Replaces by rename; pyshimctl is the environment's own script.
    """
    folder = os.path.abspath(directory)
    os.makedirs(folder, exist_ok=True)
    programs = texts(folder, interpreter(), library(), sysconfig.get_path("platlib"))
    del programs["pyshimctl"], programs[CTL_MAIN]
    preload(interpreter(), library(), folder)  # first: what the programs start is there
    for name, text in programs.items():
        files.replace(f"{folder}/{name}", text.encode(), 0o755)
    return [f"{folder}/{name}" for name in programs]


def preload(python: str, library_dir: str, folder: str) -> None:
    """Compile the hot programs' modules into one file each, in `folder`, for `python`.

    And link to it there: the programs of texts() need both.
    """
    script = os.path.join(library_dir, "ocishim", "admin", "preloading.py")
    subprocess.run([python, *preloading.OPTIONS, script, library_dir, folder], check=True)


def main(arguments: list[str]) -> int:
    """Write the programs into the directory named; the exit status."""
    if len(arguments) != 1:
        sys.stderr.write("usage: python -m ocishim.admin.launchers DIRECTORY\n")
        return 2
    write(arguments[0])
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
