"""A node with many DRA claims: spec files as the GPU driver's kubelet plugin writes them.

One file per claim, kind `k8s.gpu.nvidia.com/claim`, one device `<uid>-gpu-0`; the driver's 40
mounts, its environment and hooks are in every file. Run as a program, it prints what the registry
costs on such a node: `python3 -m bench.claims`.

Least of 21 runs, CPython 3.11, two busy cores: one claim warm 0.2 ms, 1,000 claims 3.4, one of
them changed 12.5, 1 of 10,000 devices 1.2; all cold 770; 9.3 MiB with 1,000 claims, 8.7 with one.
"""

from __future__ import annotations

import os
import shutil
import stat
import statistics
import subprocess
import sys
import tempfile
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

KIND = "k8s.gpu.nvidia.com/claim"
_VERSION = "570.86.15"
_LIBRARIES = """
    cuda nvidia-ml nvidia-ptxjitcompiler cudadebugger nvcuvid nvidia-encode nvidia-opticalflow
    nvidia-cfg nvidia-allocator nvidia-gpucomp nvidia-nvvm nvidia-opencl nvidia-rtcore nvoptix
    nvidia-eglcore nvidia-glcore nvidia-glsi nvidia-tls nvidia-fbc nvidia-ngx EGL_nvidia
    GLX_nvidia GLESv1_CM_nvidia GLESv2_nvidia nvidia-glvkspirv nvidia-gtk3 nvidia-pkcs11
    nvidia-pkcs11-openssl3 nvidia-sandboxutils nvidia-vksc-core nvidia-wayland-client vdpau_nvidia
"""
_PROGRAMS = """
    nvidia-smi nvidia-debugdump nvidia-persistenced nvidia-cuda-mps-control
    nvidia-cuda-mps-server nvidia-imex nvidia-imex-ctl nvidia-powerd
"""
_NODES = ("/dev/nvidia-uvm", "/dev/nvidiactl")
_HOOK = "/var/lib/kubelet/plugins/gpu.nvidia.com/nvidia-cdi-hook"
_LIBDIR = "/usr/lib/x86_64-linux-gnu"


def uid(number: int) -> str:
    """The claim's UID, the same for the same number."""
    return f"{number:08x}-5f0c-4a51-9d0e-{number * 2654435761 % (1 << 48):012x}"


def device(number: int) -> str:
    """The qualified name of the claim's one device."""
    return f"{KIND}={uid(number)}-gpu-0"


def file_name(number: int) -> str:
    """The name of the claim's file in the spec dir."""
    return f"k8s.gpu.nvidia.com-claim_{uid(number)}.yaml"


def spec_text(
    names: list[str], mounts: int = 40, *, root: str = "", hooks: bool = True,
) -> str:
    """A spec in YAML, as Go's writer lays it out: keys sorted, lists not indented.

    root: where on the host the driver's files and device nodes lie.
    """
    lines = ["---", "cdiVersion: 0.5.0", "containerEdits:", "  deviceNodes:"]
    for path in _NODES:
        lines += _node(path, root, "  ")
    lines += ["  env:", "  - NVIDIA_CTK_LIBCUDA_DIR=" + _LIBDIR, "  - NVIDIA_VISIBLE_DEVICES=void"]
    if hooks:
        lines += ["  hooks:"]
        lines += _hook("create-symlinks", "--link", f"libcuda.so.1::{_LIBDIR}/libcuda.so")
        lines += _hook("enable-cuda-compat", f"--host-driver-version={_VERSION}")
        lines += _hook("update-ldcache", "--folder", _LIBDIR)
        lines += _hook("disable-device-node-modification")
    lines += ["  mounts:"]
    for path in _paths()[:mounts]:
        lines += [f"  - containerPath: {path}", f"    hostPath: {root}{path}", "    options:"]
        lines += [f"    - {option}" for option in ("ro", "nosuid", "nodev", "rbind", "rprivate")]
    lines += ["devices:"]
    for number, name in enumerate(names):
        lines += ["- containerEdits:", "    deviceNodes:"]
        lines += _node(f"/dev/nvidia{number % 8}", root, "    ")
        lines += [f"  name: {name}"]
    return "\n".join([*lines, f"kind: {KIND}", ""])


def make_claims(directory: str, count: int, *, root: str = "", hooks: bool = True) -> None:
    """Write `count` claims, aged as claims on a running node are."""
    for number in range(count):
        text = spec_text([uid(number) + "-gpu-0"], root=root, hooks=hooks)
        write(directory, file_name(number), text)


def make_root(root: str) -> None:
    """Make the files and nodes that claims with this `root` name; nodes like /dev/null."""
    for path in _paths():
        os.makedirs(os.path.dirname(root + path), exist_ok=True)
        with open(root + path, "w", encoding="utf-8") as file:
            file.write(path)
    os.makedirs(root + "/dev")
    for path in (*_NODES, *(f"/dev/nvidia{number}" for number in range(8))):
        os.mknod(root + path, stat.S_IFCHR | 0o666, os.makedev(1, 3))


def write(directory: str, name: str, text: str) -> None:
    """Write one file of a spec dir, as the writers of specs do: by rename."""
    path = f"{directory}/{name}"
    with open(path + ".tmp", "w", encoding="utf-8") as file:
        file.write(text)
    os.rename(path + ".tmp", path)


def _node(path: str, root: str, indent: str) -> list[str]:
    host = [f"{indent}- hostPath: {root}{path}", f"{indent}  path: {path}"]
    return host if root else [f"{indent}- path: {path}"]


def _hook(name: str, *args: str) -> list[str]:
    lines = ["  - args:", "    - nvidia-cdi-hook", f"    - {name}"]
    lines += [f"    - {arg}" for arg in args]
    lines += ["    env:", "    - NVIDIA_CTK_DEBUG=false", "    hookName: createContainer"]
    return [*lines, f"    path: {_HOOK}"]


def _paths() -> list[str]:
    paths = [f"{_LIBDIR}/lib{name}.so.{_VERSION}" for name in _LIBRARIES.split()]
    return paths + [f"/usr/bin/{name}" for name in _PROGRAMS.split()]


# What one measured process does: argv is import path, spec dir, cache folder, device names.
_PROGRAM = """
import sys, time
sys.path[:0] = sys.argv[1].split(":")
from ocishim.cache import Cache
from ocishim.cdi import registry
begin = time.perf_counter()
found = registry.load([sys.argv[2]], Cache(sys.argv[3])).resolve(sys.argv[4:])
end = time.perf_counter()
# The parent's memory counts in ru_maxrss until the exec, not in VmHWM.
peak = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))
print((end - begin) * 1000, peak.split()[1])
"""
ROUNDS = 21
COLD_ROUNDS = 3


class Node:
    """Spec dir and cache in a temporary folder on tmpfs, as /run is; `before` precedes a run."""

    def __init__(self, root: str, title: str) -> None:
        self.title = title
        self.specs = f"{root}/{title}/cdi"
        self.cache = f"{root}/{title}/cache"
        self.wanted = ""
        self.before: Callable[[Node], None] = lambda _node: None
        self.inside: list[float] = []
        self.whole: list[float] = []
        self.memory: list[float] = []
        os.makedirs(self.specs)

    def with_claims(self, count: int) -> Node:
        """Fill the spec dir with claims; the one in the middle is asked for."""
        make_claims(self.specs, count)
        self.wanted = device(count // 2)
        return self

    def run(self) -> None:
        """One process: ms in the registry, ms of the whole process, its peak memory in MiB."""
        self.before(self)
        argv = [sys.executable, "-I", "-S", "-c", _PROGRAM, _library(), self.specs, self.cache]
        begin = time.perf_counter()
        done = subprocess.run([*argv, self.wanted], stdout=subprocess.PIPE, check=True)
        self.whole.append((time.perf_counter() - begin) * 1000)
        inside, peak = (float(word) for word in done.stdout.split())
        self.inside.append(inside)
        self.memory.append(peak / 1024)


def _library() -> str:
    """Where ocishim lies, and PyYAML, which -S does not find by itself."""
    import yaml  # noqa: PLC0415

    here = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    return here + ":" + os.path.dirname(os.path.dirname(yaml.__file__))


def change(node: Node) -> None:
    """Change one claim of many."""
    text = spec_text([f"{uid(0)}-gpu-0"]) + f"# {len(node.inside)}\n"
    write(node.specs, file_name(0), text)
    _settle()


def forget(node: Node) -> None:
    """Lose the cache."""
    shutil.rmtree(node.cache, ignore_errors=True)


def main() -> None:
    """Print the registry's cost, one line a case; cases take turns, as the machine is shared."""
    root = tempfile.mkdtemp(prefix="claims-", dir="/dev/shm")
    try:
        nodes = _warm_nodes(root)
        for node in nodes:
            node.run()
        _settle()
        for node in nodes:
            node.run()
            del node.inside[:], node.whole[:], node.memory[:]
        cold = Node(root, "1000 claims, cold").with_claims(1000)
        cold.before = forget
        for _round in range(COLD_ROUNDS):
            cold.run()
        for _round in range(ROUNDS):
            for node in nodes:
                node.run()
        _report([*nodes, cold])
    finally:
        shutil.rmtree(root)


def _warm_nodes(root: str) -> list[Node]:
    nodes = [Node(root, f"{count} claims, warm").with_claims(count) for count in (1, 56, 1000)]
    changed = Node(root, "1000 claims, one changed").with_claims(1000)
    changed.before = change
    many = Node(root, "1 of 10000 devices, warm")
    write(many.specs, "many.yaml", spec_text([f"gpu-{number}" for number in range(10_000)]))
    many.wanted = f"{KIND}=gpu-9000"
    return [*nodes, changed, many]


def _report(nodes: list[Node]) -> None:
    """Medians; what a case takes more than the first one, pair by pair; minima in brackets."""
    print(f"{'':26} {'ms in the registry':>20} {'more than one claim':>20} {'process':>20}  MiB")
    base = nodes[0].inside
    for node in nodes:
        more = [value - one for value, one in zip(node.inside, base, strict=False)]
        columns = " ".join(map(_median_and_least, (node.inside, more, node.whole)))
        print(f"{node.title:26} {columns} {statistics.median(node.memory):5.1f}")


def _median_and_least(values: list[float]) -> str:
    """The least tells what it costs on a machine that has nothing else to do."""
    return f"{statistics.median(values):10.2f} ({min(values):7.2f})"


def _settle() -> None:
    time.sleep(0.05)  # until a change time is older than the clock's tick


if __name__ == "__main__":
    main()
