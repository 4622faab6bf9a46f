"""Settings: defaults, the file, the compiled copy, and messages that name file, line and key."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

from ocishim import posixos
from ocishim.cache import Cache
from ocishim.errors import ConfigError
from ocishim.settings import config, configfile, defaults
from tests import words

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(name="file")
def _file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "config.toml"
    monkeypatch.setenv("PYSHIM_CONFIG", str(path))
    monkeypatch.setenv("PYSHIM_CACHE_DIR", str(tmp_path / "cache"))
    return path


def as_values(settings: config.Config) -> dict[str, Any]:
    """The settings by attribute, the cache left out."""
    return {name: getattr(settings, name) for name in config.Config.__slots__ if name != "cache"}


ALL = """
runtimes = ["crun", "/opt/runc"]
[cdi]
spec_dirs = ["/a", "/b"]
annotation_prefixes = ["cdi.k8s.io/", "nvidia.cdi.k8s.io/"]
stale = "error"
[hooks]
executor = "shim"
native = false
readonly_rootfs = "when-writable"
timeout = 3
[requests]
volume_mounts = true
podman_annotations = true
[[requests.env]]
name = "NVIDIA_VISIBLE_DEVICES"
kind = "nvidia.com/gpu"
[[requests.env]]
name = "AMD_VISIBLE_DEVICES"
kind = "amd.com/gpu"
unprivileged = true
[log]
file = "/var/log/pyshim.log"
level = "debug"
format = "json"
metrics = "/var/lib/x/pyshim.prom"
"""


def test_defaults_without_a_file(file: Path) -> None:
    assert as_values(config.load()) == {
        "path": str(file),
        "runtimes": ["runc", "crun"],
        "spec_dirs": ["/etc/cdi", "/var/run/cdi"],
        "annotation_prefixes": ["cdi.k8s.io/"],
        "stale": "auto",
        "executor": "auto",
        "native": True,
        "readonly_rootfs": "skip",
        "timeout": 10,
        "env_requests": [],
        "volume_mounts": False,
        "podman_annotations": False,
        "log_file": "",
        "log_level": "info",
        "log_format": "text",
        "metrics": "",
    }


def test_every_setting(file: Path) -> None:
    file.write_text(ALL)
    assert as_values(config.load()) == {
        "path": str(file),
        "runtimes": ["crun", "/opt/runc"],
        "spec_dirs": ["/a", "/b"],
        "annotation_prefixes": ["cdi.k8s.io/", "nvidia.cdi.k8s.io/"],
        "stale": "error",
        "executor": "shim",
        "native": False,
        "readonly_rootfs": "when-writable",
        "timeout": 3,
        "env_requests": [
            {"name": "NVIDIA_VISIBLE_DEVICES", "kind": "nvidia.com/gpu", "unprivileged": False},
            {"name": "AMD_VISIBLE_DEVICES", "kind": "amd.com/gpu", "unprivileged": True},
        ],
        "volume_mounts": True,
        "podman_annotations": True,
        "log_file": "/var/log/pyshim.log",
        "log_level": "debug",
        "log_format": "json",
        "metrics": "/var/lib/x/pyshim.prom",
    }


def test_one_setting_leaves_the_others(file: Path) -> None:
    file.write_text("hooks.timeout = 5\n")
    assert as_values(config.load()) == {**as_values(_defaults(file)), "timeout": 5}


def _defaults(file: Path) -> config.Config:
    return config.Config(defaults.DEFAULTS, str(file), Cache("/dev/null/nowhere"))


def test_defaults_are_not_shared(file: Path) -> None:
    file.write_text("hooks.timeout = 5\n")
    assert configfile.read(str(file))["runtimes"] == defaults.DEFAULTS["runtimes"]
    assert defaults.DEFAULTS["hooks.timeout"] == 10


def test_compiled_copy(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """TOML is parsed once; a changed file is parsed again."""
    file.write_text('runtimes = ["one"]\n')
    assert config.load().runtimes == ["one"]
    with monkeypatch.context() as patched:
        patched.setattr(configfile, "read", lambda _: pytest.fail("parsed again"))
        assert config.load().runtimes == ["one"]
    file.write_text('runtimes = ["two"]\n')
    assert config.load().runtimes == ["two"]
    file.unlink()
    assert config.load().runtimes == ["runc", "crun"]


def test_an_error_is_not_compiled(file: Path) -> None:
    file.write_text("nope = 1\n")
    for _ in range(2):
        with pytest.raises(ConfigError):
            config.load()


def test_two_files_do_not_share_a_copy(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file.write_text('runtimes = ["one"]\n')
    other = tmp_path / "other.toml"
    other.write_text('runtimes = ["two"]\n')
    assert config.load().runtimes == ["one"]
    monkeypatch.setenv("PYSHIM_CONFIG", str(other))
    assert config.load().runtimes == ["two"]


@pytest.mark.parametrize(("uid", "env", "expected"), [
    pytest.param(0, {}, "/run/pyshim", id="root"),
    pytest.param(0, {"XDG_RUNTIME_DIR": "/run/user/0"}, "/run/pyshim", id="root with a session"),
    pytest.param(1000, {"XDG_RUNTIME_DIR": "/run/user/1000"}, "/run/user/1000/pyshim",
        id="rootless"),
    pytest.param(1000, {}, "/run/pyshim", id="rootless without a session"),
    pytest.param(0, {"XDG_RUNTIME_DIR": "/run/user/7", "ROOTLESSKIT_STATE_DIR": "/run/user/7/x"},
        "/run/user/7/pyshim", id="rootless Docker, whose /run is its own"),
    pytest.param(0, {"PYSHIM_CACHE_DIR": "/c"}, "/c", id="chosen"),
])  # fmt: skip
def test_cache_dir(
    monkeypatch: pytest.MonkeyPatch, uid: int, env: dict[str, str], expected: str
) -> None:
    for name in ("XDG_RUNTIME_DIR", "ROOTLESSKIT_STATE_DIR", "PYSHIM_CACHE_DIR"):
        monkeypatch.delenv(name, raising=False)
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(posixos, "geteuid", lambda: uid)
    monkeypatch.setattr(posixos, "access", lambda _path, _mode: uid == 0)  # who may write to /run
    assert config.cache_dir() == expected


@pytest.mark.parametrize(("value", "expected"), [("", defaults.DEFAULT_PATH), ("/x", "/x")])
def test_path(monkeypatch: pytest.MonkeyPatch, value: str, expected: str) -> None:
    monkeypatch.setenv("PYSHIM_CONFIG", value)
    assert config.path() == expected
    monkeypatch.delenv("PYSHIM_CONFIG")
    assert config.path() == defaults.DEFAULT_PATH == "/etc/pyshim/config.toml"


FORM = " ('pyshimctl config default' has every setting as it is written)"
FAULTS = [
    pytest.param("nope = 1", "F:1: unknown setting 'nope' (see 'pyshimctl config default')",
        id="unknown"),
    pytest.param("[hooks]\ntimout = 3",
        "F:2: unknown setting 'hooks.timout' (did you mean 'hooks.timeout'?)", id="misspelt"),
    pytest.param("\n[hook]\ntimeout = 3",
        "F:2: unknown setting 'hook' (see 'pyshimctl config default')", id="unknown table"),
    pytest.param("hooks.timout = 3",
        "F:1: unknown setting 'hooks.timout' (did you mean 'hooks.timeout'?)", id="dotted key"),
    pytest.param("[log]\nlevel = 'info'\n[hooks]\nlevel = 3",
        "F:4: unknown setting 'hooks.level' (did you mean 'log.level'?)",
        id="the line of its own table"),
    pytest.param("runtimes = 3", "F:1: expected array, found integer in 'runtimes'", id="no array"),
    pytest.param('runtimes = "runc"', "F:1: expected array, found string in 'runtimes'",
        id="a string"),
    pytest.param("runtimes = []", "F:1: 'runtimes' names no runtime", id="empty array"),
    pytest.param("runtimes = [1]", "F:1: expected string, found integer in 'runtimes[0]'",
        id="array of numbers"),
    pytest.param('runtimes = ["runc", ""]', "F:1: empty string or NUL in 'runtimes[1]'",
        id="empty name"),
    pytest.param('runtimes = ["a\\u0000b"]', "F:1: empty string or NUL in 'runtimes[0]'", id="NUL"),
    pytest.param('runtimes = ["bin/runc"]',
        "F:1: 'bin/runc' is not an absolute path in 'runtimes[0]' (a runtime is a name to look up "
        "in PATH, or an absolute path)", id="relative path"),
    pytest.param("[cdi]\nspec_dirs = ['cdi']",
        "F:2: 'cdi' is not an absolute path in 'cdi.spec_dirs[0]' (a spec dir is an absolute path)",
        id="relative spec dir"),
    pytest.param("[cdi]\nannotation_prefixes = ['']",
        "F:2: empty string or NUL in 'cdi.annotation_prefixes[0]'", id="a prefix of everything"),
    pytest.param("[cdi]\nstale = 'maybe'",
        "F:2: 'maybe' is not a value of 'cdi.stale' (choose 'auto', 'error', 'warn', 'ignore')",
        id="choice"),
    pytest.param("[hooks]\nexecutor = 'me'",
        "F:2: 'me' is not a value of 'hooks.executor' (choose 'auto', 'runtime', 'shim')",
        id="executor"),
    pytest.param("[hooks]\nreadonly_rootfs = 'run'",
        "F:2: 'run' is not a value of 'hooks.readonly_rootfs' (choose 'skip', 'when-writable', "
        "'overlay')", id="read-only policy"),
    pytest.param("[hooks]\nnative = 1", "F:2: expected boolean, found integer in 'hooks.native'",
        id="no boolean"),
    pytest.param("[hooks]\ntimeout = true",
        "F:2: expected integer, found boolean in 'hooks.timeout'", id="no integer"),
    pytest.param("[hooks]\ntimeout = 2.5", "F:2: expected integer, found float in 'hooks.timeout'",
        id="a float"),
    pytest.param("[hooks]\ntimeout = 0",
        "F:2: 0 is not a timeout for 'hooks.timeout' (1 to 3600 seconds)", id="no time"),
    pytest.param("[hooks]\ntimeout = 3601",
        "F:2: 3601 is not a timeout for 'hooks.timeout' (1 to 3600 seconds)", id="too long"),
    pytest.param("hooks = 3", "F:1: expected table, found integer in 'hooks'", id="no table"),
    pytest.param("[log]\nfile = 'pyshim.log'",
        "F:2: 'pyshim.log' is not an absolute path in 'log.file'", id="relative log"),
    pytest.param("[log]\nlevel = 'INFO'",
        "F:2: 'INFO' is not a value of 'log.level' (choose 'error', 'warning', 'info', 'debug')",
        id="level"),
    pytest.param("[requests]\nenv = ['X']",
        "F:2: expected table, found string in 'requests.env[0]'", id="request is no table"),
    pytest.param("[[requests.env]]\nname = 'X'", "F:1: 'requests.env[0].kind' is missing",
        id="request without a kind"),
    pytest.param("[[requests.env]]\nname = ''\nkind = 'a.b/c'",
        "F:1: 'requests.env[0].name' is missing", id="request without a name"),
    pytest.param("[[requests.env]]\nname = 'X'\nkind = 'a.b/c'\nalways = true",
        "F:4: unknown setting 'requests.env[0].always'", id="unknown in a request"),
    pytest.param("[[requests.env]]\nname = 3\nkind = 'a.b/c'",
        "F:2: expected string, found integer in 'requests.env[0].name'", id="type in a request"),
    pytest.param("[[requests.env]]\nname = 'X'\nkind = 'a.b/c'\nunprivileged = 'no'",
        "F:4: expected boolean, found string in 'requests.env[0].unprivileged'",
        id="boolean in a request"),
    pytest.param("[[requests.env]]\nname = 'X'\nkind = 'gpu'",
        "F:3: 'gpu' is not a kind in 'requests.env[0].kind' (a kind is vendor/class: "
        "nvidia.com/gpu)", id="no kind in a request"),
    pytest.param("[[requests.env]]\nname = 'X'\nkind = 'nvidia.com/gpu=0'",
        "F:3: 'nvidia.com/gpu=0' is not a kind in 'requests.env[0].kind' (a kind is vendor/class: "
        "nvidia.com/gpu)", id="a device in a request"),
    pytest.param("[[requests.env]]\nname = 'X=1'\nkind = 'a.b/c'",
        "F:2: no variable's name in 'requests.env[0].name'", id="no name in a request"),
    *(
        pytest.param(text, "F: not valid TOML: " + words.of_toml(text) + FORM, id=f"below a table {n}")
        for n, text in enumerate(("[log]\nfile = '/a", "[hooks]\ntimeout = ten"))
    ),
    pytest.param("runtimes = [", "F: not valid TOML: " + words.of_toml("runtimes = [") + FORM,
        id="array ends too early"),
    pytest.param("a = 1\nb 2", "F: not valid TOML: " + words.of_toml("a = 1\nb 2") + FORM,
        id="no equals sign"),
    pytest.param("runtimes = ['a']\nruntimes = ['b']",
        "F:2: 'runtimes' is there twice, in lines 1 and 2 (keep one of the two)", id="key twice"),
    pytest.param("[hooks]\ntimeout = 3\n[log]\nlevel = 'info'\n\n[hooks]\nnative = true",
        "F:6: table [hooks] is there twice, in lines 1 and 6 (move what is below line 6 to below "
        "line 1 and remove [hooks])",
        id="table twice"),
    pytest.param("[log]\n# [hooks]\n[ 'hooks' ] # ours\n[hooks]",
        "F:4: table [hooks] is there twice, in lines 3 and 4 (move what is below line 4 to below "
        "line 3 and remove [hooks])",
        id="table twice, quoted"),
    pytest.param("[[requests.env]]\nname = 'A'\nkind = 'a.b/c'\n[requests.env]\nname = 'B'",
        "F:4: table [requests.env] is there twice, in lines 1 and 4 (keep one of the two)",
        id="tables of an array and a table"),
    pytest.param("[hooks]\ntimeout = 3\n[log]\n[hooks]\nnative = true\ntimeout = 4",
        "F:4: table [hooks] is there twice, in lines 1 and 4 (keep one of the two)",
        id="table twice with a key twice"),
    pytest.param("[hooks]\ntimeout = 3\nnative = true\n'timeout' = 4",
        "F:4: 'hooks.timeout' is there twice, in lines 2 and 4 (keep one of the two)",
        id="key twice in a table"),
    pytest.param("hooks.timeout = 3\n[hooks]",
        "F:2: table [hooks] is there twice, in lines 1 and 2 (keep one of the two)",
        id="dotted key and table"),
    pytest.param("[hooks]\n[log]\nfile = ''\n[hooks.x]\n[log.file]",
        "F:5: table [log.file] is there twice, in lines 3 and 5 (keep one of the two)",
        id="key and table"),
    pytest.param("hooks = {timeout = 3}\n[hooks]",
        "F:2: table [hooks] is there twice, in lines 1 and 2 (keep one of the two)",
        id="inline table and table"),
    pytest.param("requests.env = []\n[[requests.env]]",
        "F:2: table [requests.env] is there twice, in lines 1 and 2 (keep one of the two)",
        id="array and tables"),
    pytest.param("[[requests.env]]\nname = 'a'\n[[requests.env]]\nname = 'b'\nname = 'c'",
        "F:5: 'requests.env.name' is there twice, in lines 4 and 5 (keep one of the two)",
        id="key twice in the second request"),
    pytest.param(b"# \xff", "F:1: not valid TOML: not UTF-8" + FORM, id="not UTF-8"),
    pytest.param(b"#\n" * 600_000, "F: larger than 1048576 bytes (is this the right file)",
        id="large"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "message"), FAULTS)
def test_fault(file: Path, text: str | bytes, message: str) -> None:
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ConfigError) as caught:
        config.load()
    assert str(caught.value) == message.replace("F:", f"{file}:", 1)


@pytest.mark.parametrize(("kind", "message"), [
    ("folder", "cannot be read: is a directory"), ("FIFO", "cannot be read: not a regular file"),
    ("loop", "cannot be read: too many levels of symbolic links"), ("below a file",
        "cannot be read: not a directory"),
])  # fmt: skip
def test_no_file(file: Path, monkeypatch: pytest.MonkeyPatch, kind: str, message: str) -> None:
    path = file
    if kind == "folder":
        file.mkdir()
    elif kind == "FIFO":
        os.mkfifo(file)
    elif kind == "loop":
        file.symlink_to(file)
    else:
        file.touch()
        path = file / "x"
        monkeypatch.setenv("PYSHIM_CONFIG", str(path))
    with pytest.raises(ConfigError) as caught:
        config.load()
    assert str(caught.value) == f"{path}: {message}"


def test_not_readable(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Root reads everything, so the refusal is made up."""

    def refuse(*_: object) -> int:
        raise PermissionError(13, "Permission denied", str(file))

    file.touch()
    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(ConfigError, match=r"config\.toml: cannot be read: access denied$"):
        configfile.read(str(file))


def test_every_choice_has_its_default() -> None:
    for key, choices in configfile.CHOICES.items():
        assert defaults.DEFAULTS[key] in choices
