"""Write the two programs engines and runtimes start: `pyshim` and `pyshim-hook`.

Usage: python -m ocishim.admin.launchers DIRECTORY

pyshim is a POSIX shell script (ocishim/launcher.sh) that starts Python only for a command that
edits a bundle; pyshim-hook is a Python script with a real interpreter in its first line, since
`env` and a version manager's wrapper cost more than the hook itself. Both find the package by
absolute path.
"""

from __future__ import annotations

import os
import shlex
import shutil
import sys
import sysconfig

from ocishim import config
from ocishim.entry import hook_program
from ocishim.errors import ConfigError

_MAIN = """\
import sys
sys.path[:0] = [{library!r}]
sys.path.append({site!r})
from ocishim.start import run
run(sys.argv)
"""

_HOOK = """\
#!{python} -IS
import sys
sys.path[:0] = [{library!r}]
sys.path.append({site!r})
from hooks.program import start
start(sys.argv[1:])
"""


def interpreter() -> str:
    """Return the path of the real interpreter behind this one, not a virtual environment's."""
    base: str = getattr(sys, "_base_executable", "") or sys.executable
    return os.path.realpath(base)


def library() -> str:
    """Return the directory that holds the packages `ocishim` and `hooks`."""
    return os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def programs() -> tuple[str, str]:
    """Return the paths of `pyshim` and `pyshim-hook`: beside this program, else on PATH.

    Raises ConfigError when pyshim is not installed.
    """
    beside = os.path.join(os.path.dirname(os.path.abspath(sys.argv[0])), "pyshim")
    found = beside if os.access(beside, os.X_OK) else shutil.which("pyshim")
    if not found:
        raise ConfigError("pyshim is not installed", hint="run 'pyshimctl install'")
    return found, hook_program(found)


def write(directory: str) -> list[str]:
    """Write both programs into `directory` and return their paths; replaces them by rename."""
    python, main = interpreter(), os.path.join(os.path.abspath(directory), ".pyshim-main.py")
    places = {"library": library(), "site": sysconfig.get_path("platlib")}
    with open(os.path.join(library(), "ocishim", "launcher.sh"), encoding="utf-8") as file:
        launcher = file.read()
    for mark, value in (("@PYTHON@", python), ("@MAIN@", main)):
        launcher = launcher.replace(mark, shlex.quote(value))
    launcher = launcher.replace("@CONFIG@", config.DEFAULT_PATH)
    os.makedirs(directory, exist_ok=True)
    texts = {
        main: _MAIN.format(**places),
        os.path.join(directory, "pyshim"): launcher,
        os.path.join(directory, "pyshim-hook"): _HOOK.format(python=python, **places),
    }
    for path, text in texts.items():
        _replace(path, text)
    return list(texts)


def _replace(path: str, text: str) -> None:
    scratch = f"{path}.{os.getpid()}"
    with open(scratch, "w", encoding="utf-8") as file:
        file.write(text)
        os.fchmod(file.fileno(), 0o755)
    os.rename(scratch, path)


def main(arguments: list[str]) -> int:
    """Write the programs into the directory named; the exit status."""
    if len(arguments) != 1:
        sys.stderr.write("usage: python -m ocishim.admin.launchers DIRECTORY\n")
        return 2
    write(arguments[0])
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
