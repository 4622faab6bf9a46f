"""pyshimctl version: which pyshim this is, and the low-level runtime it would become."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from click.testing import CliRunner

from ocishim import __version__
from ocishim.admin import version
from ocishim.admin.cli import main
from ocishim.admin.install import ownfiles

ROOT = Path(__file__).parents[3]
PYTHON = ".".join(map(str, sys.version_info[:3]))


@pytest.fixture(name="settings", params=["runc", "other", "none"])
def _settings(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[dict[str, str], str]:
    """The environment of a node with a runtime, and how that is told."""
    words = {"runc": "runc version 1.2.3", "other": "something else"}
    runtime = tmp_path / "runtime"
    if request.param in words:
        runtime.write_text(f"#!/bin/sh\necho {words[request.param]}\necho commit: x\n")
        runtime.chmod(0o755)
    config = tmp_path / "config.toml"
    config.write_text(f'runtimes = ["{runtime}"]\n')
    told = {"runc": f"runc 1.2.3 ({runtime})", "other": f"runtime something else ({runtime})"}
    environment = {"PYSHIM_CONFIG": str(config), "PYSHIM_CACHE_DIR": str(tmp_path / "cache")}
    return environment, told.get(request.param, "")


def lines(environment: dict[str, str]) -> dict[str, str]:
    """Return what it prints, by the first word of each line."""
    result = CliRunner().invoke(main, ["version"], env=environment)
    assert (result.exit_code, result.stderr) == (0, "")
    return dict(line.split(maxsplit=1) for line in result.stdout.splitlines())


def report(environment: dict[str, str]) -> dict[str, Any]:
    """Return the same as an object."""
    result = CliRunner().invoke(main, ["version", "--json"], env=environment)
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def test_in_a_clone(settings: tuple[dict[str, str], str]) -> None:
    environment, runtime = settings
    told = lines(environment)
    features = report(environment)["features"]
    marks = " ".join(f"{'-+'[features[name]]}{name}" for name in ("libyaml", "prctl", "nvml"))
    error = report(environment)["lowlevel"].get("error", "")
    assert told == {
        "pyshim": __version__,
        "library": str(ROOT),
        "interpreter": f"Python {PYTHON} ({sys.executable})",
        "features": f"cdi-1.1.0 {marks}",
        "runtime": runtime or error,
    }
    assert bool(error) == (not runtime)


def test_as_json(settings: tuple[dict[str, str], str]) -> None:
    told = report(settings[0])
    assert told["pyshim"] == __version__
    assert told["python"] == {"version": PYTHON, "path": sys.executable}
    assert (told["library"], told["file"]) == (str(ROOT), None)
    if settings[1].startswith("runc"):
        config = settings[0]["PYSHIM_CONFIG"]
        runtime = str(Path(config).with_name("runtime"))
        assert told["lowlevel"] == {"path": runtime, "kind": "runc", "version": "1.2.3"}


@pytest.mark.parametrize(("name", "module"), version._PARTS.items())
@pytest.mark.parametrize("there", [True, False], ids=["there", "not there"])
def test_features(monkeypatch: pytest.MonkeyPatch, name: str, module: str, *, there: bool) -> None:
    monkeypatch.setitem(sys.modules, module, ModuleType(module) if there else None)
    assert report({})["features"][name] is there


@pytest.mark.parametrize(
    ("content", "digest"),
    [
        pytest.param(
            b"file", "3b9c358f36f0a31b6ad3e14f309c7cf198ac9246e8316f9ce543d5b19ac02b80", id="read"
        ),
        pytest.param(None, "unknown", id="no /proc"),
    ],
)
def test_in_the_static_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: bytes | None, digest: str
) -> None:
    file = tmp_path / "pyshim"
    if content is not None:
        file.write_bytes(content)
    builtin = ModuleType("_pyshim")
    builtin.BUILD = 0x1A  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "_pyshim", builtin)
    monkeypatch.setattr(version, "IS_STATIC", True)
    monkeypatch.setattr(ownfiles, "IS_STATIC", True)
    monkeypatch.setattr(ownfiles, "static_file", lambda: str(file))
    told = lines({})
    assert told["file"] == (str(file) if content else "unknown")
    assert told["digest"] == digest
    assert told["build"] == "000000000000001a"
    assert told["interpreter"] == f"Python {PYTHON} (in the file)"
    assert "library" not in told
