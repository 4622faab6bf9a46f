"""The hooks' work by a process that is warm: whom it serves, with what, and what is left of it.

The low-level runtime is a script that starts its hooks as runc does: a process of its own, which
stands for `runc init`, starts them in its namespaces, with the state on stdin.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from ocishim import knownhooks, posixos, warmstart
from ocishim.admin import launchers
from tests.probe import Box, oci

if TYPE_CHECKING:
    from collections.abc import Sequence

pytestmark = pytest.mark.root

# What each hook answered, as JSON: exit status, stdout, stderr. WARM: the runtime's children.
_RUNTIME = """\
#!@PYTHON@ -IS
import json, os, subprocess, sys, time
if sys.argv[1:] == ["--version"]:
    print("runc version 1.1.5")
    sys.exit()
def warm():
    "Its process id, once it has its name."
    while True:
        for child in open("/proc/self/task/%d/children" % os.getpid()).read().split():
            if open("/proc/%s/comm" % child).read().startswith("pyshim:"):
                return child
        time.sleep(0.01)
def start(hook, *args):
    words = [*@INIT@, hook["path"], *hook["args"][1:]]
    return subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, env={"PATH": os.environ["PATH"]})
def finish(hook):
    out, err = hook.communicate(json.dumps({"bundle": os.getcwd()}).encode())
    return [hook.returncode, out.decode(), err.decode()]
hooks = json.load(open("config.json"))["hooks"]["createContainer"]
@BEFORE@
print(json.dumps([finish(start(hook)) for hook in hooks]))
"""
INIT = ["unshare", "-m", "sh", "-c", '"$@"; exit $?', "sh"]
COLD = [9, "cold\n", ""]


def within(script: str, *flags: str) -> list[str]:
    """The container's first process, which does something before it starts a hook."""
    return ["unshare", *(flags or ("-m",)), "sh", "-c", f'{script}; "$@"; exit $?', "sh"]


def link(*targets: str) -> dict[str, Any]:
    flags = [word for target in targets for word in ("--link", target)]
    args = ["nvidia-cdi-hook", "create-symlinks", *flags]
    return {"path": "/usr/bin/nvidia-cdi-hook", "args": args}


class Node:
    """A box whose hook program is cold: all it does is to say so."""

    def __init__(self, folder: Path) -> None:
        self.box = Box(folder)
        self.program = self.box.pyshim
        self.rootfs = folder / "bundle/rootfs"
        self.cold = self.box.bin / "pyshim-hook"
        self.cold.write_text("#!/bin/sh\necho cold\nexit 9\n")
        self.runtime()

    def runtime(self, before: str = "", init: list[str] | None = None) -> None:
        marks = {
            "@PYTHON@": launchers.interpreter(),
            "@INIT@": repr(init or INIT),
            "@BEFORE@": before,
        }
        text = _RUNTIME
        for mark, value in marks.items():
            text = text.replace(mark, value)
        self.box.runtime.write_text(text)

    def started_by(self, command: str) -> None:
        """Have pyshim started by `command`, a line of shell with {pyshim} and its arguments."""
        self.program = self.box.bin / "started-by"
        self.program.write_text(
            "#!/bin/sh\n" + command.format(pyshim=f'{self.box.pyshim} "$@"') + "\n"
        )
        self.program.chmod(0o755)

    def call(
        self, *hooks: dict[str, Any], pass_fds: Sequence[int] = (), **members: object
    ) -> subprocess.CompletedProcess[str]:
        bundle = self.box.bundle(oci(hooks={"createContainer": list(hooks)}, **members))
        return subprocess.run(
            [self.program, "create", "c"], cwd=bundle, env=self.box.environment(),
            capture_output=True, text=True, timeout=50, check=False, pass_fds=pass_fds,
        )  # fmt: skip

    def create(self, *hooks: dict[str, Any], **members: Any) -> list[list[object]]:
        done = self.call(*hooks, **members)
        assert done.returncode == 0, done
        answers: list[list[object]] = json.loads(done.stdout)
        return answers

    def programs(self) -> list[str]:
        spec = json.loads((self.rootfs.parent / "config.json").read_bytes())
        return [Path(hook["path"]).name for hook in spec["hooks"]["createContainer"]]


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path)


def test_done_by_the_warm_one(node: Node) -> None:
    assert node.create(link("a::/b"), link("c::/d")) == [[0, "", ""]]
    assert node.programs() == [knownhooks.CHAIN_PROGRAM]
    assert {path.name for path in node.rootfs.iterdir()} == {"b", "d"}


def test_the_runtime_itself_may_start_it(node: Node) -> None:
    node.runtime(init=["env"])  # which becomes the hook
    assert node.create(link("a::/b")) == [[0, "", ""]]


def test_a_runtime_in_another_mount_namespace(node: Node) -> None:
    """As a wrapper may start it; the process was forked before."""
    runtime = node.box.runtime.rename(node.box.runtime.with_name("real"))
    node.box.runtime.write_text(f'#!/bin/sh\nexec unshare -m "{runtime}" "$@"\n')
    node.box.runtime.chmod(0o755)
    assert node.create(link("a::/b")) == [[0, "", ""]]


def test_a_failure_is_told(node: Node) -> None:
    """Exit status and stderr are the hook's own."""
    node.rootfs.mkdir(parents=True)
    (node.rootfs / "x").symlink_to("/no/where")
    [[status, out, err]] = node.create(link("a::/x/l"))
    assert (status, out) == (1, "")
    assert str(err).startswith("pyshim-hook: createContainer hook create-symlinks failed: ")


def test_in_the_namespace_of_who_asks(node: Node) -> None:
    """What is mounted there is where the links go; on the host nothing is seen of it."""
    (node.rootfs / "in").mkdir(parents=True)
    script = f'mount -t tmpfs none {node.rootfs}/in; "$@"; s=$?; ls {node.rootfs}/in; exit $s'
    node.runtime(init=["unshare", "-m", "sh", "-c", script, "sh"])
    [[status, out, _]] = node.create(link("a::/in/b"))
    assert (status, out) == (0, "b\n")
    assert list((node.rootfs / "in").iterdir()) == []


def test_it_is_there_before_the_runtime_is(node: Node) -> None:
    """One that the hook misses would wait on, and `crun run` with it: however quick the runtime."""
    node.box.runtime.write_text("""\
#!/bin/sh
case $1 in --version) echo runc version 1.1.5 && exit ;; esac
read -r child </proc/$$/task/$$/children
read -r name </proc/${child% }/comm
echo "$name"
""")
    told = [node.call(link("a::/b")).stdout for _ in range(10)]
    assert {re.sub("[0-9]+", "N", name) for name in told} == {"pyshim:N:N\n"}


def test_beside_many_descriptors(node: Node) -> None:
    """Its pipes get whatever numbers are free; the engine's descriptors reach the runtime alone."""
    with tempfile.TemporaryFile() as file:
        copies = [os.dup(file.fileno()) for _ in range(800)]
        done = node.call(link("a::/b"), pass_fds=copies)
        for copy in copies:
            os.close(copy)
    assert json.loads(done.stdout) == [[0, "", ""]]


def test_it_holds_nothing_of_the_engine(node: Node) -> None:
    """An engine reads the runtime's output to its end."""
    node.runtime(
        before="""\
folder = "/proc/%s/fd/" % warm()
while os.readlink(folder + "2") != "/dev/null":
    time.sleep(0.01)
fds = {name: os.readlink(folder + name) for name in os.listdir(folder)}
print(json.dumps([fds, [os.readlink("/proc/self/fd/%d" % fd) for fd in (1, 2)]])); sys.exit()"""
    )
    fds, ours = json.loads(node.call(link("a::/b")).stdout)
    assert {fds.pop(name) for name in "012"} == {"/dev/null"}
    kinds = sorted(kind.split(":")[0] for kind in fds.values())
    assert [kind for kind in kinds if kind != "anon_inode"] == 4 * ["pipe"]
    assert not {*fds.values()} & {*ours}


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-"])
def test_not_where_a_standard_descriptor_is_missing(node: Node, closed: str) -> None:
    """Its pipes would lie where it puts those of the hook."""
    node.started_by("exec {pyshim} " + closed)
    node.runtime(
        before="open('answer', 'w').write(json.dumps("
        "[finish(start(hook)) for hook in hooks])); sys.exit()"
    )
    assert node.call(link("a::/b")).returncode == 0
    assert json.loads((node.rootfs.parent / "answer").read_bytes()) == [COLD]


@pytest.mark.parametrize("before", [
    pytest.param("os.kill(int(warm()), 9)", id="killed"),
    pytest.param("os.kill(int(warm()), 9); os.wait()", id="gone"),
    pytest.param("os.kill(int(warm()), 19); subprocess.Popen(['sh', '-c', 'sleep 0.3; kill -9 ' + warm()])",
                 id="killed while it is asked"),
])  # fmt: skip
def test_without_it_the_program_does_the_work(node: Node, before: str) -> None:
    node.runtime(before)
    assert node.create(link("a::/b")) == [COLD]


@pytest.mark.parametrize("init", [
    pytest.param(within(":", "-U", "-r", "-m"), id="another user namespace"),
    pytest.param(["sh", "-c", 'sh -c \'"$@"; exit $?\' sh "$@"; exit $?', "sh"], id="further below"),
    pytest.param(["setsid", "-w", "sh", "-c", '"$@" & wait $!', "sh"], id="allowed"),
])  # fmt: skip
def test_whom_it_serves(node: Node, init: list[str]) -> None:
    node.runtime(init=init)
    [answer] = node.create(link("a::/b"))
    assert answer == ([0, "", ""] if init[0] == "setsid" else COLD)


def test_not_below_another_root(node: Node) -> None:
    """Its own root would be another tree than that of who asks."""
    tree = node.box.folder / "tree"
    tree.mkdir()
    script = f"""
        mount -t tmpfs none {tree}
        for folder in /*/; do mkdir {tree}$folder && mount --rbind $folder {tree}$folder; done
        chroot {tree} "$@"; exit $?"""
    node.runtime(init=["unshare", "-m", "sh", "-c", script, "sh"])
    assert node.create(link("a::/b")) == [COLD]


def test_a_stranger_is_refused(node: Node) -> None:
    """Who writes the process id of one that is not below the runtime."""
    node.runtime("""\
pid = warm()
requests, answers = open("/proc/%s/comm" % pid).read().split(":")[1:]
answers = open("/proc/%s/fd/%d" % (pid, int(answers)))
open("/proc/%s/fd/%s" % (pid, requests), "w").write("%d\\n" % os.getppid())
print(json.dumps(answers.read())); sys.exit()""")
    assert json.loads(node.call(link("a::/b")).stdout) == "no\n"


@pytest.mark.parametrize(
    ("started", "name", "answer"),
    [
        pytest.param(["unshare", "-m", "setsid"], "pyshim:5:6", COLD, id="container"),
        pytest.param([], "pyshim:5:6", [0, "", ""], id="what it would do"),
        pytest.param(["unshare", "-m"], "pyshim:5:6", [0, "", ""], id="in the runtime's session"),
        pytest.param(["setsid"], "pyshim:5:6", [0, "", ""], id="in its mount namespace"),
        pytest.param([], "pyshim:./5:6", COLD, id="path"),
        pytest.param([], "pyshim:5:6:6", COLD, id="three numbers"),
        pytest.param([], "pyshim:5", COLD, id="one number"),
        pytest.param([], "pyshim::", COLD, id="no number"),
    ],
)
def test_nobody_else_is_asked(
    node: Node, started: list[str], name: str, answer: list[object]
) -> None:
    """A process of a container, below the engine's process that is the hook's grandparent.

    Where crun joins a pod's PID namespace, that is whom the shell script finds there.
    """
    kept = node.box.folder / "kept"
    kept.write_text("content\n")
    (node.box.folder / "answer").write_text("0\n")
    script = f"""
exec 5<{kept} 6<{node.box.folder / "answer"}
printf %s {name} >/proc/$$/comm
echo ready
read -r end
"""
    node.runtime(f"""\
os.kill(int(warm()), 9); os.wait()
command = [*{started!r}, "sh", "-c", {script!r}]
other = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
other.stdout.readline()""")
    assert node.create(link("a::/b")) == [answer]
    assert kept.read_text().startswith("content\n")
    assert (kept.read_text() == "content\n") == (answer == COLD)


def test_not_where_descriptors_are_few(node: Node) -> None:
    node.runtime("import resource\nresource.setrlimit(resource.RLIMIT_NOFILE, (500, 500))")
    node.started_by("ulimit -Sn 12; exec {pyshim} 3</ 4</ 5</ 6</ 7</")
    assert node.create(link("a::/b")) == [COLD]


def test_not_where_the_numbers_do_not_fit_in_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(posixos, "pipe", lambda: (1000, 1001))
    monkeypatch.setattr(posixos, "fork", lambda: pytest.fail("forked"))
    warmstart.fork(lambda *_: None, [])


def test_one_is_served(node: Node) -> None:
    """A foreign hook between two chains: the second finds nobody warm."""
    foreign = {"path": "/bin/true", "args": ["true"]}
    assert node.create(link("a::/b"), foreign, link("c::/d")) == [[0, "", ""], [0, "", ""], COLD]


def test_it_dies_with_the_runtime(node: Node) -> None:
    node.runtime("print(json.dumps(warm())); sys.stdout.flush(); os.kill(os.getpid(), 9)")
    done = node.call(link("a::/b"))
    assert done.returncode == -9
    pid = json.loads(done.stdout)
    for _ in range(500):
        if not Path(f"/proc/{pid}").exists() or " Z " in Path(f"/proc/{pid}/stat").read_text():
            return
    pytest.fail("still there")


def test_not_for_a_user_namespace() -> None:
    """Its root may not look into a process of the host's."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        Path(folder).chmod(0o755)
        node = Node(Path(folder))
        linux = {"namespaces": [{"type": "user"}, {"type": "mount"}]}
        assert node.create(link("a::/b"), linux=linux) == [COLD]
        assert node.programs() == ["pyshim-hook"]


def test_without_the_script_the_program_is_the_hook(node: Node) -> None:
    (node.box.bin / knownhooks.CHAIN_PROGRAM).unlink()
    assert node.create(link("a::/b")) == [COLD]
    assert node.programs() == ["pyshim-hook"]


def test_a_second_create_changes_nothing(node: Node) -> None:
    node.create(link("a::/b"))
    before = (node.rootfs.parent / "config.json").read_bytes()
    done = subprocess.run(
        [node.box.pyshim, "create", "c"], cwd=node.rootfs.parent, env=node.box.environment(),
        capture_output=True, text=True, timeout=50, check=True,
    )  # fmt: skip
    assert json.loads(done.stdout) == [[0, "", ""]]
    assert (node.rootfs.parent / "config.json").read_bytes() == before
