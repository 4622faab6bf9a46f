"""The unit tests on each supported Python that this machine has: `make matrix`."""

from __future__ import annotations

import nox

nox.options.default_venv_backend = "venv"
nox.options.reuse_existing_virtualenvs = True


@nox.session(python=["3.10", "3.11", "3.12", "3.13"])
def unit(session: nox.Session) -> None:
    """Everything under tests that needs neither a runtime nor an engine."""
    session.install("--quiet", "--use-pep517", "--editable", ".[test]")
    session.run(
        "python", "-m", "pytest", "tests", "--ignore=tests/integration", "-q", "-n", "2",
        *session.posargs,
    )
