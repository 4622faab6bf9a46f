"""The unit tests on the supported Pythons that this machine has: `make matrix`.

`make test` runs them on .venv's own Python, so that one is left out here. Interpreters come from
PATH and from pyenv's folder, whether or not pyenv has them switched on.
"""

from __future__ import annotations

import glob
import os
import sys

import nox

OWN = f"{sys.version_info.major}.{sys.version_info.minor}"
OTHERS = [version for version in ("3.10", "3.11", "3.12", "3.13", "3.14") if version != OWN]
PYENV = os.environ.get("PYENV_ROOT", os.path.expanduser("~/.pyenv"))

nox.options.default_venv_backend = "venv"
nox.options.reuse_existing_virtualenvs = True
os.environ["PATH"] = ":".join(
    [*glob.glob(f"{PYENV}/versions/3.1[0-4].*/bin"), os.environ["PATH"]],
)


@nox.session(python=OTHERS)
def unit(session: nox.Session) -> None:
    """Everything under tests that runs in this Python; containers run in .venv's."""
    locks = [word for name in ("base", "test") for word in ("-r", f"tools/lock/{name}.txt")]
    session.install("--quiet", "--require-hashes", *locks)
    session.install("--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--editable", ".")
    session.run(
        "python",
        "-m",
        "pytest",
        "tests",
        "--ignore=tests/integration",
        "--ignore=tests/attack/test_containers.py",
        "-q",
        "-n",
        "2",
        *session.posargs,
    )
