"""CONTRIBUTING's ways to add something, followed in a copy, with what is made up; and it works."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.test_layers import MAX_LINES

ROOT = Path(__file__).parents[1]

SCHEMA = "ocishim/cdi/schema/cdi-1.1.0.json"
PYSHIMCTL = "import sys; from ocishim.admin.cli import main; main(sys.argv[1:])"

HOOK = '''
"""touch-stamp: write the file --path in the rootfs."""
from ocishim.hooks import flags
from ocishim.hooks.outcome import Outcome

NAME = "touch-stamp"

def parse(args):
    return flags.last(flags.of(NAME, args), "path")

def apply(rootfs, path):
    rootfs.put_file(path, b"1")
    return [Outcome(f"{path}: made")]
'''

CHANGE = '''

class AddRlimit(Change):
    """Add a resource limit, NAME=VALUE."""

    __slots__ = ("entry",)

    def __init__(self, entry):
        self.entry = entry

    def apply(self, spec):
        make_list(spec, "process", "rlimits").append(self.member())

    def present(self, spec):
        return self.member() in find_list(spec, "process", "rlimits")

    def describe(self):
        return f"limit {self.entry}"

    def member(self):
        name, _, value = self.entry.partition("=")
        return {"type": name, "hard": int(value), "soft": int(value)}
'''

ENGINE = '''
"""newd's configuration: /etc/newd.conf, which has one line."""
from ocishim.admin.engines import Plan, complaint, programs, whole_file

PROGRAMS = ("newd",)

def plan(host, wish):
    text = None if wish.remove else f"runtime {wish.name} {wish.program}\\n"
    return Plan([whole_file(host, "/etc/newd.conf", text)], "newd")

def program(host, wish):
    return programs.find(host, PROGRAMS)

def problem(host, wish, scratch):
    return complaint(host, program(host, wish), "check")
'''

CHECK = '''
"""The moon."""
from ocishim.admin.checks.finding import Finding

def check(node):
    if not node.host.is_file("/dev/moon"):
        yield Finding("moon", "info", "there is no moon", evidence="/dev/moon is not there",
                      why="it is dark", next_step="wait")
'''


class Copy:
    """A copy of the code, in which a newcomer works."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "clone"
        for name in ("ocishim", "hooks"):
            shutil.copytree(
                ROOT / name, self.root / name, symlinks=True,
                ignore=shutil.ignore_patterns("__pycache__"),
            )  # fmt: skip
        self.touched: list[str] = []

    def write(self, path: str, text: str) -> None:
        """A file of its own, or another text of one that is there; it stays as short as files are."""
        (self.root / path).write_text(text)
        self.touched.append(path)
        assert not path.endswith(".py") or text.count("\n") <= MAX_LINES, path

    def append(self, path: str, text: str) -> None:
        """Write `text` at the end of a file."""
        self.write(path, (self.root / path).read_text() + text)

    def row(self, path: str, below: str, row: str) -> None:
        """Write `row` below the one line that begins with `below`."""
        lines = (self.root / path).read_text().splitlines()
        (index,) = (i for i, line in enumerate(lines) if line.startswith(below))
        self.write(path, "\n".join([*lines[: index + 1], row, *lines[index + 1 :]]) + "\n")

    def swap(self, path: str, old: str, new: str) -> None:
        """Write `new` in the one place of `old`."""
        text = (self.root / path).read_text()
        assert text.count(old) == 1
        self.write(path, text.replace(old, new))

    def run(self, code: str, *words: str) -> str:
        """What Python prints for `code` in this copy."""
        done = subprocess.run(
            [sys.executable, "-c", code, *words], cwd=self.root, capture_output=True, text=True,
            check=False, stdin=subprocess.DEVNULL, env={"PATH": "/usr/bin"},
        )  # fmt: skip
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout


@pytest.fixture(name="copy")
def _copy(tmp_path: Path) -> Copy:
    return Copy(tmp_path)


def test_a_hook(copy: Copy, tmp_path: Path) -> None:
    copy.write("hooks/touch_stamp.py", HOOK)
    copy.row("ocishim/oci/hooktable.py", "HOOKS = {",
             '    "touch-stamp": Row("path", needs=_FILES, generated=ASKED),')  # fmt: skip
    (tmp_path / "rootfs").mkdir()
    copy.run(
        "import sys; from ocishim.hooks.program import main; sys.exit(main(sys.argv[1:]))",
        "chain", "--rootfs", str(tmp_path / "rootfs"), "touch-stamp", "--path", "/stamp",
    )  # fmt: skip
    assert (tmp_path / "rootfs/stamp").read_bytes() == b"1"
    planned = copy.run(
        "from ocishim.hookplan import knownhooks\n"
        "hook = {'path': '/x/pyshim-hook', 'args': ['x', 'touch-stamp', '--path', '/a']}\n"
        "(part,) = knownhooks.parse(hook)\n"
        "print(part.describe(), part.writes)\n"
        "from ocishim.admin.generate import hooks\n"
        "print('touch-stamp' in hooks.HOOKS, 'touch-stamp' in hooks.DEFAULT_HOOKS)\n"
    )
    assert planned == "touch-stamp --path /a True\nTrue False\n"
    assert copy.touched == ["hooks/touch_stamp.py", "ocishim/oci/hooktable.py"]


def test_a_low_level_runtime(copy: Copy) -> None:
    copy.row("ocishim/lowlevel/quirks.py", "RUNTIMES = {",
             '    "newrun": Runtime(readonly=(2, 1), runs_hooks=(0, 9)),')  # fmt: skip
    chosen = copy.run(
        "from ocishim.lowlevel import lowlevel, quirks\n"
        "from ocishim.admin.checks import base\n"
        "for number in ('0.8', '2.0', '2.1'):\n"
        "    version = lowlevel.parse_version(f'newrun version {number}')\n"
        "    print(quirks.choose('auto', version, root_readonly=True))\n"
        "    print([one.what for one in base._older(version, '')])\n"
    )
    assert chosen.splitlines() == [
        "('shim', 'newrun 0.8 does not run createContainer hooks')",
        "['newrun before 2.1 makes a read-only root unwritable before hooks run']",
        "('shim', 'newrun 2.0 makes the root read-only before it runs them')",
        "['newrun before 2.1 makes a read-only root unwritable before hooks run']",
        "('runtime', 'newrun 2.1 runs createContainer hooks')",
        "[]",
    ]
    assert copy.touched == ["ocishim/lowlevel/quirks.py"]


def test_an_engine(copy: Copy, tmp_path: Path) -> None:
    copy.write("ocishim/admin/engines/newd.py", ENGINE)
    copy.swap("ocishim/admin/engines/__init__.py", 'ENGINES = ("containerd", ',
              'ENGINES = ("newd", "containerd", ')  # fmt: skip
    node = tmp_path / "node"
    (node / "etc").mkdir(parents=True)
    (node / "usr/bin").mkdir(parents=True)
    (node / "usr/bin/pyshim").touch(mode=0o755)

    def configure(*words: str) -> str:
        told = copy.run(PYSHIMCTL, "configure", "newd", "--host-root", str(node), *words)
        return "".join(told.splitlines()[:1])

    assert configure("--force") == "create /etc/newd.conf"
    assert (node / "etc/newd.conf").read_text() == "runtime pyshim /usr/bin/pyshim\n"
    assert configure("--force") == "/etc/newd.conf is as wanted"
    assert configure("--remove") == "remove /etc/newd.conf"
    assert not (node / "etc/newd.conf").exists()
    assert copy.touched == ["ocishim/admin/engines/newd.py", "ocishim/admin/engines/__init__.py"]


def test_a_check_of_the_doctor(copy: Copy, tmp_path: Path) -> None:
    copy.write("ocishim/admin/checks/moon.py", CHECK)
    copy.row("ocishim/admin/doctor.py", "CHECKS = (", '    "moon:check",')
    told = copy.run(
        "import json, sys\n"
        "from ocishim.admin import doctor\n"
        "from ocishim.admin.checks.node import Node\n"
        "from ocishim.admin.host import Host\n"
        "for one in doctor.examine(Node(Host(sys.argv[1]))):\n"
        "    print(one.name, one.what, sep=': ')\n",
        str(tmp_path),
    )
    assert "moon: there is no moon" in told.splitlines()
    assert copy.touched == ["ocishim/admin/checks/moon.py", "ocishim/admin/doctor.py"]


def test_a_cdi_field(copy: Copy, tmp_path: Path) -> None:
    copy.row("ocishim/cdi/fields.py", "FIELDS = (",
             '    Field("rlimits", "limit", "string", since="1.1.0", change="AddRlimit"),')  # fmt: skip
    copy.append("ocishim/oci/changes.py", CHANGE)
    schema = json.loads((ROOT / SCHEMA).read_text())
    schema["definitions"]["containerEdits"]["properties"]["rlimits"] = {"type": "array"}
    some = schema["definitions"]["device"]["properties"]["containerEdits"]["anyOf"]
    some.append({"required": ["rlimits"]})
    copy.write(SCHEMA, json.dumps(schema))
    document = {"cdiVersion": "1.1.0", "kind": "acme.com/gpu", "devices": [
        {"name": "0", "containerEdits": {"rlimits": ["RLIMIT_CORE=0"]}}]}  # fmt: skip
    told = copy.run(
        PYSHIMCTL, "cdi", "show", "acme.com/gpu=0", "--spec-dir", spec_dir(tmp_path / "new", document),
    )  # fmt: skip
    assert told.splitlines()[-1] == "  limit RLIMIT_CORE=0"
    file = str(tmp_path / "new/acme.json")
    told = copy.run(PYSHIMCTL, "cdi", "validate", file)
    assert told == f"{file}: valid, acme.com/gpu, 1 device, 1.1.0\n"
    older = {**document, "cdiVersion": "0.7.0"}
    refused = copy.run(
        "import json, sys\n"
        "from ocishim.cdi.document import document\n"
        "try:\n    document.load(sys.argv[1].encode(), '/x.json')\n"
        "except document.CDISpecError as err:\n    print(err.kind, err.field)\n",
        json.dumps(older),
    )
    assert refused == "version-too-old devices[0].containerEdits.rlimits\n"
    spec = copy.run(
        "import json\n"
        "from ocishim.cdi import edits\n"
        "from ocishim.oci import spec as oci\n"
        "spec = {}\n"
        "for _ in range(2):\n"
        "    print(len(oci.apply(spec, edits.plan(spec, {'rlimits': ['RLIMIT_CORE=0']}, None))))\n"
        "print(json.dumps(spec))\n"
        "every = {'additionalGids': [5], 'env': ['A=b'], 'rlimits': ['RLIMIT_CORE=0']}\n"
        "print([change.describe() for change in edits.plan({}, every, None)])\n"
    )
    limit = {"type": "RLIMIT_CORE", "hard": 0, "soft": 0}
    order = ["limit RLIMIT_CORE=0", "environment A=b", "additional group 5"]  # the table's
    written = json.dumps({"process": {"rlimits": [limit]}})
    assert spec == f"1\n0\n{written}\n{order}\n"
    assert copy.touched == ["ocishim/cdi/fields.py", "ocishim/oci/changes.py", SCHEMA]


def spec_dir(folder: Path, document: object) -> str:
    """A spec dir with this document."""
    folder.mkdir()
    (folder / "acme.json").write_text(json.dumps(document))
    return str(folder)
