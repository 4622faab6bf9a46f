"""ocishim.hooks.sandbox, seen from outside (/proc) and from inside (programs that try to get out).

The programs are static ones given to update-ldcache as the host's ldconfig.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ocishim import posixos
from ocishim.hooks import ldconfig, libview, sandbox, seccomp
from ocishim.linux import const, process
from ocishim.rootfs.rootfs import Rootfs
from tests import libs
from tests.hookcall import Call, Done, call, measured
from tests.isolated import isolated, mounts
from tests.trees import make_tree

pytestmark = pytest.mark.root

SLEEPS = "#include <unistd.h>\nint main(void) { for (;;) pause(); }"
CLOSES = """#include <unistd.h>
int main(void) { close(0); close(1); close(2); for (;;) pause(); }"""
FAILS = """#include <stdio.h>
int main(void) { puts("some words"); fflush(stdout); fputs("the last words\\n\\n", stderr); return 3; }"""
FLOODS = """#include <stdio.h>
int main(void) { for (int i = 0; i < 1000000; i++) puts("a line of fifty characters, again and again....");
  puts("the end"); return 1; }"""
ABORTS = "#include <stdlib.h>\nint main(void) { abort(); }"

# Runs its arguments where pivot_root(2) gives EINVAL.
DENIES_PIVOT_ROOT = """#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>
int main(int argc, char **argv) {
  struct sock_filter code[] = {
    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_pivot_root, 0, 1),
    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | 22),
    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
  struct sock_fprog filter = {4, code};
  return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) ? 126 : execv(argv[1], argv + 1);
}"""

# Writes "what: errno" for each attempt to /out/ld.so.cache; 0 where it succeeded.
PROBES = r"""
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/sysmacros.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#define TRY(name, call) do { errno = 0; long r = (long)(call); \
  fprintf(report, "%s: %d\n", name, r == -1 ? errno : 0); fflush(report); } while (0)
extern char **environ;
static void list(FILE *report, const char *path) {
  fprintf(report, "names in %s:", path);
  struct dirent **names; int count = scandir(path, &names, 0, alphasort);
  for (int i = 2; i < count; i++) fprintf(report, " %s", names[i]->d_name);
  fprintf(report, "\n");
}
int main(int argc, char **argv) {
  int fds = 0;
  for (int fd = 0; fd < 1024; fd++) fds += fcntl(fd, F_GETFD) != -1;
  FILE *report = fopen("/out/report", "w");
  char *none[] = {0};
  fprintf(report, "pid: %d\nuid: %d %d\nenvironment: %d\ndescriptors: %d\nargv0: %s\n",
          getpid(), getuid(), getgid(), environ[0] != 0, fds, argv[0]);
  char c; fprintf(report, "stdin: %d\n", (int)read(0, &c, 1));
  list(report, "/"); list(report, "/0");
  TRY("read a library", open("/0/libshown.so.1", O_RDONLY));
  TRY("write beside the output", creat("/written", 0644));
  TRY("write in the folder", creat("/0/written", 0644));
  TRY("write a file of others", open("/0/open", O_WRONLY));
  TRY("read a file of others", open("/0/secret", O_RDONLY));
  TRY("change the folder's mode", chmod("/0", 0777));
  TRY("remove from the folder", unlink("/0/libshown.so.1"));
  TRY("give a file away", chown("/out/report", 1, 1));
  TRY("open a device", open("/0/device", O_RDONLY));
  TRY("make a device", mknod("/out/new", S_IFCHR | 0600, makedev(1, 3)));
  TRY("run a file", execve("/0/program", none, none));
  TRY("run a file, the other way", syscall(SYS_execveat, AT_FDCWD, "/0/program", none, none, 0));
  TRY("map a file as code",
      mmap(0, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE, open("/0/program", O_RDONLY), 0));
  TRY("start a process", fork());
  TRY("trace a process", ptrace(PTRACE_ATTACH, 1, 0, 0));
  TRY("signal the parent", kill(getppid() ? getppid() : 2, 9));
  TRY("become root", setuid(0));
  TRY("reach the network", socket(AF_INET, SOCK_STREAM, 0));
  TRY("reach a local socket", socket(AF_UNIX, SOCK_STREAM, 0));
  TRY("share memory", shmget(1, 4096, IPC_CREAT | 0600));
  TRY("mount", mount("none", "/", "tmpfs", 0, 0));
  TRY("leave the root", chroot("/"));
  TRY("make a user namespace", unshare(CLONE_NEWUSER));
  TRY("open by handle", syscall(SYS_open_by_handle_at, -1, 0, 0));
  TRY("load a kernel program", syscall(SYS_bpf, 0, 0, 0));
  TRY("see processes", open("/proc/1", O_RDONLY));
  TRY("go up", chdir("/../../../../../../..") || access("/out/report", F_OK));
  TRY("raise a limit", setrlimit(RLIMIT_NOFILE, &(struct rlimit){1024, 1024}));
  TRY("make a large file", ftruncate(fileno(report), 17 << 20));
  int descriptors = 0;
  while (open("/out/report", O_RDONLY) != -1) descriptors++;
  fprintf(report, "files open at once: %d\n", descriptors);
  int chunks = 0; void *volatile chunk; // an optimiser may leave out what nobody keeps
  while ((chunk = malloc(1 << 20))) chunks++;
  fprintf(report, "memory: %d\n", chunks);
  fprintf(report, "sync: %d\n", fsync(fileno(report)));
  fclose(report);
  return 0;
}
"""


def run(root: Path, source: str, *, limit: float = 30) -> Done:
    root.mkdir(exist_ok=True)
    program = str(libs.static_program(source))
    return call(root, "update-ldcache", "--ldconfig-path", program, limit=limit)


@pytest.fixture
def sleeping(tmp_path: Path) -> Iterator[tuple[Call, Path]]:
    """A hook whose ldconfig sleeps, and that process in /proc."""
    root = tmp_path / "root"
    root.mkdir()
    with open(root / "leak", "w") as leak:
        os.set_inheritable(leak.fileno(), True)  # as runc 1.1 leaks its descriptors
        program = str(libs.static_program(SLEEPS))
        make_tree(root, "dir opt", "dir volume", "file opt/libshown.so.1 x")
        hook = Call(root, "update-ldcache", "--folder", "/opt", "--ldconfig-path", program)
    child = _child_of(hook)
    yield hook, child
    os.kill(hook.pid, signal.SIGKILL)
    assert hook.wait().status == -signal.SIGKILL  # ldconfig ends with it and closes the pipe


def _child_of(hook: Call) -> Path:
    end = time.monotonic() + 60
    while time.monotonic() < end:
        for pid in hook.children():
            child = Path(f"/proc/{pid}")
            if (child / "cmdline").read_bytes().startswith(b"ldconfig\0"):
                return child
        time.sleep(0.01)
    raise AssertionError("ldconfig did not start")


# from outside


def status_of(child: Path) -> dict[str, str]:
    lines = (child / "status").read_text().splitlines()
    return {key: value.strip() for key, _, value in (line.partition(":") for line in lines)}


def test_privileges(sleeping: tuple[Call, Path]) -> None:
    status = status_of(sleeping[1])
    for name in ("Inh", "Prm", "Eff", "Bnd", "Amb"):
        assert (name, status[f"Cap{name}"]) == (name, f"{0:016x}")
    assert status["Uid"].split() == status["Gid"].split() == ["65534"] * 4
    assert status["Groups"] == ""
    assert (status["NoNewPrivs"], status["Seccomp"], status["Umask"]) == ("1", "2", "0022")


def test_inheritable_and_ambient_capabilities_are_dropped(tmp_path: Path) -> None:
    """Docker gave its containers some until 20.10.14 (CVE-2022-24769)."""
    caps = "+sys_admin,+net_admin,+dac_override"
    under = ("setpriv", f"--inh-caps={caps}", f"--ambient-caps={caps}")
    program = str(libs.static_program(SLEEPS))
    hook = Call(tmp_path, "update-ldcache", "--ldconfig-path", program, under=under)
    child = _child_of(hook)
    found = [status_of(child)[f"Cap{name}"].strip("0") for name in ("Inh", "Amb", "Prm", "Bnd")]
    assert found == ["", "", "", ""]
    os.kill(hook.pid, signal.SIGKILL)
    hook.wait()


def test_namespaces(sleeping: tuple[Call, Path]) -> None:
    child = sleeping[1]
    for name in ("mnt", "pid"):
        assert os.readlink(child / f"ns/{name}") != os.readlink(f"/proc/self/ns/{name}")
    assert status_of(child)["NSpid"].split()[1:] == ["1"]


def test_the_folders_are_all_there_is(sleeping: tuple[Call, Path]) -> None:
    lines = [line.split() for line in (sleeping[1] / "mountinfo").read_text().splitlines()]
    assert [line[4] for line in lines] == ["/", "/0"]
    assert lines[0][lines[0].index("-") + 1] == "tmpfs"
    assert lines[1][3].endswith("/root/opt")
    assert {"nosuid", "nodev", "noexec"} <= set(lines[0][5].split(","))
    assert {"ro", "nosuid", "nodev", "noexec"} <= set(lines[1][5].split(","))
    assert sorted(os.listdir(sleeping[1] / "root")) == ["0", "out"]
    assert os.listdir(sleeping[1] / "root/0") == ["libshown.so.1"]


def test_limits(sleeping: tuple[Call, Path]) -> None:
    lines = (sleeping[1] / "limits").read_text().splitlines()[1:]
    limits = {line[:25].strip(): line[26:].split()[:2] for line in lines}
    expected = {
        "Max cpu time": 11,
        "Max file size": 16 << 20,
        "Max data size": 48 << 20,
        "Max core file size": 0,
        "Max open files": 64,
        "Max address space": 16 << 30,
    }
    assert {name: limits[name] for name in expected} == {
        name: [str(value)] * 2 for name, value in expected.items()
    }


def test_what_it_is_started_with(sleeping: tuple[Call, Path]) -> None:
    child = sleeping[1]
    arguments = (child / "cmdline").read_bytes().split(b"\0")
    assert b" ".join(arguments) == b"ldconfig -X -i -f / -c new -C /out/ld.so.cache /0 "
    assert (child / "environ").read_bytes() == b""
    assert sorted(os.listdir(child / "fd")) == ["0", "1", "2"]
    assert os.readlink(child / "fd/0") == "/dev/null"
    assert os.readlink(child / "exe").startswith("/memfd:")


def test_the_program_cannot_be_written(sleeping: tuple[Call, Path]) -> None:
    before = libs.static_program(SLEEPS).read_bytes()
    with pytest.raises(OSError, match=r"Text file busy|not permitted"):
        os.open(sleeping[1] / "exe", os.O_WRONLY)
    assert libs.static_program(SLEEPS).read_bytes() == before


def test_it_dies_with_the_hook(tmp_path: Path) -> None:
    program = str(libs.static_program(SLEEPS))
    hook = Call(tmp_path, "update-ldcache", "--ldconfig-path", program)
    child = _child_of(hook)
    os.kill(hook.pid, signal.SIGKILL)
    hook.wait()
    end = time.monotonic() + 60
    while not _has_ended(child):
        assert time.monotonic() < end, "still there"
        time.sleep(0.01)


def _has_ended(child: Path) -> bool:
    try:
        return status_of(child)["State"][0] == "Z"
    except (FileNotFoundError, ProcessLookupError):  # ESRCH: gone between open and read
        return True


# from inside


def test_what_it_can_do(tmp_path: Path) -> None:
    root = make_tree(
        tmp_path / "root",
        "dir volume", "file opt/libshown.so.1 x", "file opt/open text", "file opt/secret text",
        "char opt/device 1 5", "file opt/program #!",
    )  # fmt: skip
    for name, mode in (("open", 0o666), ("secret", 0o400), ("program", 0o755), (".", 0o777)):
        os.chmod(root / "opt" / name, mode)
    report = _report(root)
    memory = int(report.pop("memory"))
    assert 30 <= memory <= 48
    assert report == {
        "pid": "1",
        "uid": "65534 65534",
        "environment": "0",
        "descriptors": "3",
        "argv0": "ldconfig",
        "stdin": "0",
        "names in /": "0 out",
        "names in /0": "device libshown.so.1 open program secret",
        "read a library": "0",
        "write beside the output": "13",
        "write in the folder": "30",
        "write a file of others": "30",
        "read a file of others": "13",
        "change the folder's mode": "30",
        "remove from the folder": "30",
        "give a file away": "1",
        "open a device": "13",
        "make a device": "1",
        "run a file": "1",
        "run a file, the other way": "13",
        "map a file as code": "1",
        "start a process": "1",
        "trace a process": "1",
        "signal the parent": "3",
        "become root": "1",
        "reach the network": "1",
        "reach a local socket": "1",
        "share memory": "1",
        "mount": "1",
        "leave the root": "1",
        "make a user namespace": "1",
        "open by handle": "1",
        "load a kernel program": "1",
        "see processes": "2",
        "go up": "0",
        "raise a limit": "1",
        "make a large file": "27",
        "files open at once": str(64 - 4 - 2),
        "sync": "0",
    }


def _report(root: Path) -> dict[str, str]:
    """Run PROBES on the folder opt of `root`; what it wrote, as a caller of the sandbox reads it."""
    program = os.open(libs.static_program(PROBES), os.O_RDONLY)
    with Rootfs.open_dir(str(root)) as rootfs, libview.View(rootfs) as view:
        view.add(["/opt"], ["/opt"])
        tree = sandbox.scratch(1)
        job = sandbox.Job(tree, view.folders, program, ["ldconfig"], timeout=10)
        result = sandbox.run(job)
        assert (result.status, result.output) == (0, b"")
        with open(os.open("out/report", os.O_RDONLY, dir_fd=tree)) as file:
            lines = file.read().replace("\0", "").splitlines()
    os.close(tree)
    os.close(program)
    return dict(line.split(": ", 1) if ": " in line else line.split(":") for line in lines)


@isolated
def test_what_is_mounted_below_a_folder_is_not_seen(tmp_path: Path) -> None:
    """But for libraries: CDI mounts the driver's on files of the image's folders."""
    root = make_tree(tmp_path / "root", "dir opt/volume", "file opt/liba.so.1.0 ", "file opt/proc ")
    driver = libs.put(libs.library("liba.so.1"), tmp_path / "driver")
    subprocess.run(["mount", "-t", "tmpfs", "none", root / "opt/volume"], check=True)
    (root / "opt/volume/libb.so.1").touch()
    subprocess.run(["mount", "--bind", driver, root / "opt/liba.so.1.0"], check=True)
    subprocess.run(["mount", "--bind", "/proc/version", root / "opt/proc"], check=True)
    program = str(libs.static_program(SLEEPS))
    hook = Call(root, "update-ldcache", "--folder", "/opt", "--ldconfig-path", program)
    child = _child_of(hook)
    lines = [line.split() for line in (child / "mountinfo").read_text().splitlines()]
    assert [line[4] for line in lines] == ["/", "/0", "/0/liba.so.1.0"]
    assert all({"ro", "nosuid", "nodev", "noexec"} <= set(line[5].split(",")) for line in lines[1:])
    assert os.listdir(child / "root/0/volume") == []
    os.kill(hook.pid, signal.SIGKILL)
    hook.wait()
    assert call(root, "update-ldcache", "--folder", "/opt").status == 0
    assert os.readlink(root / "opt/liba.so.1") == "liba.so.1.0"
    assert Path("/proc/self/mountinfo").read_text().count(f" {root}/opt/") == 3


@isolated
def test_nothing_is_mounted_on_the_peers_of_a_folder(tmp_path: Path) -> None:
    """A volume with mountPropagation Bidirectional; what its links lead to is shown in its place."""
    held = make_tree(tmp_path / "held", "symlink libz.so.1 /opt/libz.so.1.2", "file libz.so.2 x")
    root = make_tree(tmp_path / "root", "dir volume", "dir opt", "file library x")
    libs.put(libs.library("libz.so.1"), root / "opt/libz.so.1.2")
    subprocess.run(["mount", "--bind", held, held], check=True)
    subprocess.run(["mount", "--make-shared", held], check=True)
    subprocess.run(["mount", "--bind", held, root / "volume"], check=True)
    subprocess.run(["mount", "--bind", root / "library", root / "volume/libz.so.2"], check=True)
    before = mounts(tmp_path)
    assert call(root, "update-ldcache", "--folder", "/volume").status == 0
    assert mounts(tmp_path) == before
    assert b"/volume/libz.so.1\0" in (root / "etc/ld.so.cache").read_bytes()


@isolated
@pytest.mark.parametrize("change", [
    pytest.param(lambda link, _: link.unlink(), id="the link is gone"),
    pytest.param(lambda link, _: (link.unlink(), link.mkdir()), id="the link is a folder"),
    pytest.param(lambda link, _: (link.unlink(), make_tree(link.parent, f"fifo {link.name}")),
        id="the link is a fifo"),
    pytest.param(lambda _, file: file.unlink(), id="the file is gone"),
    pytest.param(lambda link, _: shutil.rmtree(link.parent), id="the folder is gone"),
])  # fmt: skip
def test_names_that_change_after_the_look(
    tmp_path: Path, change: Callable[[Path, Path], object]
) -> None:
    """Another container has the volume as well: a container starts whatever that one does."""
    root = make_tree(tmp_path / "root", "symlink opt/libz.so.1 /usr/libz.so.1.2", "dir usr")
    libs.put(libs.library("libz.so.1"), root / "usr/libz.so.1.2")
    libs.put(libs.library("liba.so.1"), root / "usr/liba.so.1")
    with Rootfs.open_dir(str(root)) as rootfs, libview.View(rootfs) as view:
        view.add(["/opt", "/usr"], [])
        assert list(view.folders[0].covers) == ["libz.so.1"]
        change(root / "opt/libz.so.1", root / "usr/libz.so.1.2")
        data = ldconfig.run(ldconfig.DEFAULT_PATH, view)
        found = ldconfig.explained(data, view.folders)[1]
    assert "liba.so.1" in [library.file for library in found]


# more than can be shown


def _mounted(tmp_path: Path) -> Path:
    """Four links of the image's that lead to another folder, and two mounted libraries behind."""
    root = make_tree(
        tmp_path / "root", "dir opt", "file usr/lib/libm1.so.1 ", "file usr/lib/libm2.so.1 ",
        *(f"symlink opt/libz{number}.so.1 /usr/libz.so.1" for number in range(4)),
    )  # fmt: skip
    library = libs.put(libs.library("libm1.so.1"), tmp_path / "driver/libm1.so.1")
    libs.put(libs.library("libz.so.1"), root / "usr/libz.so.1")
    for number in (1, 2):
        subprocess.run(
            ["mount", "--bind", library, root / f"usr/lib/libm{number}.so.1"], check=True
        )
    return root


@isolated
def test_mounted_libraries_come_before_links(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = _mounted(tmp_path)
    monkeypatch.setattr(libview, "_MOST_COVERS", 3)
    with Rootfs.open_dir(str(root)) as rootfs, libview.View(rootfs) as view:
        view.add(["/opt", "/usr/lib"], [])
        assert [len(folder.covers) for folder in view.folders] == [1, 2]
        told = [(change.text, change.warning) for change in view.outcomes]
    more = "more than 3 libraries that are mounted or linked from elsewhere"
    assert told == [(f"/opt: {more}: the rest is left out", True)]


@isolated
def test_what_cannot_be_opened_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root, plain = _mounted(tmp_path), os.open

    def fails(path: str, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        if path == "libm2.so.1":
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        return plain(path, flags, mode, dir_fd=dir_fd)

    monkeypatch.setattr(posixos, "open", fails)
    with Rootfs.open_dir(str(root)) as rootfs, libview.View(rootfs) as view:
        view.add(["/usr/lib"], [])
        told = [(change.text, change.warning) for change in view.outcomes]
    assert told == [("/usr/lib/libm2.so.1: Too many open files: left out", True)]


# how it ends


@pytest.mark.parametrize(
    ("source", "message"),
    [
        pytest.param(FAILS, "ldconfig: exit status 3: the last words", id="fails"),
        pytest.param(FLOODS, "ldconfig: exit status 1: the end", id="floods"),
        pytest.param(ABORTS, "ldconfig: killed by signal ", id="aborts"),
    ],
)
def test_failures_are_told(tmp_path: Path, source: str, message: str) -> None:
    program = str(libs.static_program(source))
    done = measured(tmp_path, "update-ldcache", "--ldconfig-path", program)
    assert done.status == 1
    assert done.peak_kib < 32 << 10
    assert done.stderr.startswith(
        f"pyshim-hook: createContainer hook update-ldcache failed: {message}"
    )


@pytest.mark.parametrize("source", [SLEEPS, CLOSES], ids=["sleeps", "closes its output and sleeps"])
def test_a_deadline(tmp_path: Path, source: str) -> None:
    program = str(libs.static_program(source))
    args = ("chain", "--timeout", "2", "update-ldcache", "--ldconfig-path", program)
    done = call(tmp_path, *args, limit=10)
    killed = (
        r"pyshim-hook: warning: update-ldcache: ldconfig was not done after 1\.\d+ s, and was killed: "
        r"pyshim makes /etc/ld.so.cache itself\n"
    )
    assert re.fullmatch(killed, done.stderr), done
    assert done.status == 0
    assert 1 < done.seconds < 5  # the machine may be busy; without the option it takes 10
    assert (tmp_path / "etc/ld.so.cache").exists()


def test_an_early_end_of_output_is_not_the_end(tmp_path: Path) -> None:
    source = "#include <unistd.h>\nint main(void) { close(1); close(2); usleep(300000); return 7; }"
    done = run(tmp_path / "root", source)
    assert done.stderr.endswith(" failed: ldconfig: exit status 7\n")
    assert done.seconds > 0.3


def test_a_large_parent(tmp_path: Path) -> None:
    """The limits of memory are for the program, not for a parent that has more."""
    ballast = bytearray(200 << 20)
    program = os.open(libs.static_program("int main(void) { return 5; }"), os.O_RDONLY)
    tree = sandbox.scratch(0)
    result = sandbox.run(sandbox.Job(tree, [], program, ["x"], timeout=5))
    os.close(tree)
    os.close(program)
    assert (os.waitstatus_to_exitcode(result.status), len(ballast)) == (5, 200 << 20)


def test_without_seccomp_there_are_namespaces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "has_seccomp", lambda: False)
    started: list[int] = []
    clone3 = process.clone3

    def recorded(flags: int) -> int:
        started.append(flags)
        return clone3(flags)

    monkeypatch.setattr(process, "clone3", recorded)
    source = """#include <sys/socket.h>

    #include <netinet/in.h>
    int main(void) { struct sockaddr_in a = {AF_INET, 0x5000, {0x0100007f}};
      return connect(socket(AF_INET, SOCK_DGRAM, 0), (void *)&a, sizeof a) ? 4 : 0; }"""
    program = os.open(libs.static_program(source), os.O_RDONLY)
    tree = sandbox.scratch(0)
    result = sandbox.run(sandbox.Job(tree, [], program, ["x"], timeout=5))
    os.close(tree)
    os.close(program)
    assert started == [const.CLONE_NEWPID | const.CLONE_NEWIPC | const.CLONE_NEWNET]
    # The loopback interface of a new network namespace is down: no route even to 127.0.0.1.
    assert os.waitstatus_to_exitcode(result.status) == 4


def test_a_refusing_kernel_is_an_error(tmp_path: Path) -> None:
    """Without CAP_SYS_ADMIN no sandbox can be made; nothing runs with less."""
    under = ("setpriv", "--bounding-set=-sys_admin", "--inh-caps=-sys_admin")
    done = call(tmp_path, "update-ldcache", under=under)
    assert done.status == 1
    assert "failed: sandbox refused by the kernel: " in done.stderr


# elsewhere


def test_in_a_user_namespace(tmp_path: Path) -> None:
    root = make_tree(tmp_path / "root", "dir opt")
    libs.put(libs.library("liba.so.1"), root / "opt/liba.so.1.0")
    under = ("unshare", "--user", "--map-root-user", "--mount")
    done = call(root, "update-ldcache", "--folder", "/opt", under=under)
    assert (done.status, done.stderr) == (0, ""), done
    assert (root / "etc/ld.so.cache").is_file()


@isolated
def test_when_the_root_cannot_be_pivoted_from(tmp_path: Path) -> None:
    """As on an initramfs: pivot_root(2) says EINVAL, here by a filter."""
    root = make_tree(tmp_path / "root", "dir opt")
    libs.put(libs.library("liba.so.1"), root / "opt/liba.so.1.0")
    under = (str(libs.static_program(DENIES_PIVOT_ROOT)),)
    done = call(root, "update-ldcache", "--folder", "/opt", under=under)
    assert (done.status, done.stderr) == (0, ""), done
    assert (root / "etc/ld.so.cache").is_file()
    program = str(libs.static_program(SLEEPS))
    hook = Call(root, "update-ldcache", "--ldconfig-path", program, under=under)
    assert sorted(os.listdir(_child_of(hook) / "root")) == ["out"]
    os.kill(hook.pid, signal.SIGKILL)
    hook.wait()


def test_seccomp_tables_are_right() -> None:
    """The numbers of this machine, as its own headers have them."""
    listed = "".join(f"int pyshim_{name} = SYS_{name};\n" for name in _this_machines())
    source = f"#include <sys/syscall.h>\n#include <stdio.h>\n{listed}\nint main(void) {{\n"
    source += "".join(f'printf("{name} %d\\n", pyshim_{name});\n' for name in _this_machines())
    output = subprocess.run([libs.static_program(source + "}")], capture_output=True, check=False)
    found = dict(line.split() for line in output.stdout.decode().splitlines())
    assert found == {name: str(number) for name, number in _this_machines().items()}


def test_seccomp_tables_of_arm64() -> None:
    """asm-generic/unistd.h is arm64's table, and comes with the headers of any machine."""
    source = "#define __ARCH_WANT_SYS_CLONE3\n#include <asm-generic/unistd.h>\n"
    command = ["gcc", "-E", "-dM", "-x", "c", "-"]
    listed = subprocess.run(command, input=source, capture_output=True, text=True, check=True)
    defined = dict(line.split()[1:3] for line in listed.stdout.splitlines() if "__NR_" in line)
    table = {**seccomp.DENIED, **seccomp.WITHOUT_EFFECT}
    ours = {name: str(row[1]) for name, row in table.items()}
    assert ours == {name: defined.get(f"__NR_{name}", "-1") for name in table}


def _this_machines() -> dict[str, int]:
    column = ("x86_64", "aarch64").index(os.uname().machine)
    table = {**seccomp.DENIED, **seccomp.WITHOUT_EFFECT}
    return {name: row[column] for name, row in table.items() if row[column] >= 0}
