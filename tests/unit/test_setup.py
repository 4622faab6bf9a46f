"""The set-up scripts say what is missing and how to get it, and touch nothing without root."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import tomlkit
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

TOOLS = Path(__file__).resolve().parents[2] / "tools"
# What tools/packages.sh uses beside Debian's own programs.
COMMON = ("awk", "sort", "tr", "dirname", "grep", "sed", "rm", "chmod", "sh", "cat")


class Machine:
    """A PATH with the programs named and nothing else; calls are written to a file."""

    def __init__(self, folder: Path, installed: str, uid: int) -> None:
        self.bin = folder / "bin"
        self.bin.mkdir()
        self.calls = folder / "calls"
        for program in COMMON:
            (self.bin / program).symlink_to(str(shutil.which(program)))
        self.add("id", f"echo {uid}")
        case = "|".join(installed.split()) or "-"
        self.policy = folder / "policy-rc.d"
        self.add(
            "dpkg-query", f"for last; do :; done; case $last in {case}) printf installed;; esac"
        )
        self.add("apt-get", f"{{ echo $*; cat '{self.policy}' 2>&-; }} >> '{self.calls}'; :")
        self.add("apt-cache", "case $2 in runsc) ;; *) echo '  Candidate: 1.0';; esac")

    def add(self, name: str, text: str) -> None:
        (self.bin / name).write_text(f"#!/bin/sh\n{text}\n")
        (self.bin / name).chmod(0o755)

    def run(self, *groups: str, **environment: str) -> tuple[int, str]:
        done = subprocess.run(
            ["/bin/sh", str(TOOLS / "packages.sh"), *groups],
            env={"PATH": str(self.bin), "POLICY_RC_D": str(self.policy), **environment},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.stdout == ""
        return done.returncode, done.stderr


def test_nothing_is_missing(tmp_path: Path) -> None:
    machine = Machine(tmp_path, "shellcheck", uid=1000)
    assert machine.run("check") == (0, "")
    assert not machine.calls.exists()


def test_without_root_it_says_how(tmp_path: Path) -> None:
    machine = Machine(tmp_path, "", uid=1000)
    assert machine.run("check") == (
        1,
        (
            "setup: missing packages: shellcheck\n"
            "setup: to get them: sudo apt-get update && "
            "sudo apt-get install --no-install-recommends shellcheck\n"
        ),
    )
    assert not machine.calls.exists()


def test_groups_are_joined_and_each_package_named_once(tmp_path: Path) -> None:
    machine = Machine(tmp_path, "ca-certificates gcc python3 python3-venv", uid=1000)
    line = machine.run("venv", "demo")[1].splitlines()[0]
    assert line == ("setup: missing packages: busybox-static libc-bin libc6-dev runc util-linux")


def test_root_installs_what_is_missing(tmp_path: Path) -> None:
    machine = Machine(tmp_path, "", uid=0)
    # The second look finds it still missing: this apt-get only takes notes.
    assert machine.run("check") == (1, "setup: installing shellcheck\n")
    assert machine.calls.read_text() == (
        "update -qq\ninstall -qq -y --no-install-recommends shellcheck\n#!/bin/sh\nexit 101\n"
    )
    assert not machine.policy.exists(), "services stay forbidden"


def test_a_policy_that_is_there_stays(tmp_path: Path) -> None:
    machine = Machine(tmp_path, "", uid=0)
    machine.policy.write_text("mine\n")
    machine.run("check")
    assert machine.policy.read_text() == "mine\n"


def test_a_package_that_cannot_be_had_is_named(tmp_path: Path) -> None:
    everything = " ".join(
        line.split()[0]
        for line in (TOOLS / "packages").read_text().splitlines()
        if not line.startswith(("#", "runsc "))
    )
    machine = Machine(tmp_path, everything, uid=0)
    assert machine.run("test") == (
        1,
        ("setup: runsc is not in this machine's package sources (/etc/apt/sources.list*)\n"),
    )


def test_neither_debian_nor_ubuntu(tmp_path: Path) -> None:
    machine = Machine(tmp_path, "", uid=0)
    (machine.bin / "dpkg-query").unlink()
    assert machine.run("check") == (
        1,
        (
            "setup: this is neither Debian nor Ubuntu; install what these packages hold, "
            "then run make again with SETUP=no: shellcheck \n"
        ),
    )
    assert machine.run("check", SETUP="no") == (0, "")


@pytest.mark.parametrize(
    ("python", "found"),
    [
        pytest.param("/nonexistent/python3", False, id="none"),
        pytest.param(sys.executable, True, id="this one"),
    ],
)
def test_an_interpreter_that_is_no_good(tmp_path: Path, python: str, *, found: bool) -> None:
    """Without one, nothing is made; with one, pip (which fails here) comes next."""
    done = subprocess.run(
        ["/bin/sh", str(TOOLS / "venv.sh"), str(tmp_path / "venv")],
        env={"PATH": "/usr/bin:/bin", "PYTHON": python, "PIP_NO_INDEX": "1"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert ("no Python 3.10 or newer" in done.stderr) is not found
    assert (tmp_path / "venv").exists() is found


@pytest.mark.parametrize(
    ("version", "taken"),
    [
        pytest.param("go1.21.0", True, id="gets newer ones itself"),
        pytest.param("go1.19.8", False, id="too old"),
        pytest.param("devel", False, id="no release"),
    ],
)
def test_go_that_is_named_is_taken_when_it_is_new_enough(
    tmp_path: Path,
    version: str,
    *,
    taken: bool,
) -> None:
    go = tmp_path / "go"
    go.write_text(f"#!/bin/sh\necho {version}\n")
    go.chmod(0o755)
    apt = tmp_path / "apt-get"  # nothing is fetched where there is no other Go
    apt.write_text("#!/bin/sh\nexit 1\n")
    apt.chmod(0o755)

    done = subprocess.run(
        [str(TOOLS / "go.sh"), str(tmp_path)],
        check=False,
        capture_output=True,
        text=True,
        env={"PATH": f"{tmp_path}:/usr/bin:/bin", "GO": str(go)},
    )

    assert (done.stdout == f"{go}\n") is taken


APT = r"""#!/bin/sh
case $* in
indextargets*) echo http://mirror.example/debian/; exit ;;
*download\ *) touch hello.deb ;;
*download-only*) touch "$FOLDER/cache/archives/hello.deb" ;;
esac
echo "$@" >>"$FOLDER/calls"
"""
UNPACK = """#!/bin/sh
mkdir -p "$3/usr/bin"
touch "$3/usr/bin/hello"
chmod +x "$3/usr/bin/hello"
[ -z "$KILLED" ] || exit 1
"""


@pytest.mark.parametrize(
    ("libraries", "action"),
    [
        pytest.param("", "download hello", id="the packages named"),
        pytest.param("yes", "install -y --download-only hello", id="and what they depend on"),
    ],
)
def test_packages_of_another_suite(tmp_path: Path, libraries: str, action: str) -> None:
    """Lists of any age are taken: sid's are signed for a week, and mirrors stand still."""
    for name, text in (("apt-get", APT), ("dpkg-deb", UNPACK)):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    folder = tmp_path / "folder"
    command = [str(TOOLS / "backports.sh"), str(folder), "usr/bin/hello", "hello"]
    env = {
        "PATH": f"{tmp_path}:/usr/bin:/bin",
        "FOLDER": str(folder),
        "LIBRARIES": libraries,
        "SUITE": "sid",
    }

    # A program that was being unpacked when the power went is not there.
    for killed in ("yes", ""):
        done = subprocess.run(
            command,
            env={**env, "KILLED": killed},
            check=False,
            capture_output=True,
            text=True,
        )

    assert (done.returncode, done.stdout) == (0, f"{folder}/unpacked/usr/bin/hello\n"), done.stderr
    calls = (folder / "calls").read_text().splitlines()
    assert [call.split("Acquire::Check-Valid-Until=false ")[1:] for call in calls] == [
        ["update"],
        [action],
    ] * 2


LOCKS = sorted((TOOLS / "lock").glob("*.txt"))
PYTHONS = ["3.10", "3.11", "3.12", "3.13", "3.14"]


def locked(file: Path, python: str) -> dict[str, str]:
    """Return name and version of everything that `file` has for `python` on Linux."""
    environment = {
        "python_version": python,
        "python_full_version": f"{python}.0",
        "sys_platform": "linux",
        "platform_python_implementation": "CPython",
    }
    text = file.read_text().replace("\\\n", " ")
    found: dict[str, str] = {}
    for line in text.splitlines():
        if line.startswith("#"):
            continue
        words, *hashes = line.split("--hash=sha256:")
        assert hashes, f"{file.name}: no hash: {line}"
        requirement = Requirement(words)
        if requirement.marker is None or requirement.marker.evaluate(environment):
            name = canonicalize_name(requirement.name)
            assert name not in found, f"{file.name}: two versions of {name}"
            found[name] = str(requirement.specifier).removeprefix("==")
    return found


@pytest.mark.parametrize("python", PYTHONS)
def test_the_lock_has_what_pyproject_asks_for(python: str) -> None:
    project = tomlkit.parse((TOOLS.parent / "pyproject.toml").read_text()).unwrap()
    extras = project["project"]["optional-dependencies"]
    wanted = {"base": project["project"]["dependencies"] + project["build-system"]["requires"]}
    wanted |= {file.stem: extras[file.stem] for file in LOCKS if file.stem != "base"}
    assert {"bench", "check", "test"} < wanted.keys()
    for name, lines in wanted.items():
        have = locked(TOOLS / f"lock/{name}.txt", python)
        for asked in map(Requirement, lines):
            if asked.marker is None or asked.marker.evaluate({"python_version": python}):
                assert have[canonicalize_name(asked.name)] in asked.specifier, name


@pytest.mark.parametrize("python", PYTHONS)
def test_no_package_is_locked_in_two_versions(python: str) -> None:
    seen: dict[str, str] = {}
    for file in LOCKS:
        for name, version in locked(file, python).items():
            assert seen.setdefault(name, version) == version, name
