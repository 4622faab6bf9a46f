"""A node with many DRA claims: spec files as the GPU driver's kubelet plugin writes them.

One file per claim, kind `k8s.gpu.nvidia.com/claim`, one device `<uid>-gpu-0`; the driver's 40
mounts, its environment and hooks are in every file. Run as a program, it prints what the registry
costs on such a node: `python3 -m bench.claims`.
"""

from __future__ import annotations

import os
import shutil
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


def spec_text(names: list[str], mounts: int = 40) -> str:
    """A spec in YAML, as Go's writer lays it out: keys sorted, lists not indented."""
    lines = ["---", "cdiVersion: 0.5.0", "containerEdits:"]
    lines += ["  deviceNodes:", "  - path: /dev/nvidia-uvm", "  - path: /dev/nvidiactl"]
    lines += ["  env:", "  - NVIDIA_CTK_LIBCUDA_DIR=" + _LIBDIR, "  - NVIDIA_VISIBLE_DEVICES=void"]
    lines += ["  hooks:"]
    lines += _hook("create-symlinks", "--link", f"libcuda.so.1::{_LIBDIR}/libcuda.so")
    lines += _hook("enable-cuda-compat", f"--host-driver-version={_VERSION}")
    lines += _hook("update-ldcache", "--folder", _LIBDIR)
    lines += _hook("disable-device-node-modification")
    lines += ["  mounts:"]
    for path in _paths()[:mounts]:
        lines += [f"  - containerPath: {path}", f"    hostPath: {path}", "    options:"]
        lines += [f"    - {option}" for option in ("ro", "nosuid", "nodev", "rbind", "rprivate")]
    lines += ["devices:"]
    for number, name in enumerate(names):
        lines += ["- containerEdits:", "    deviceNodes:", f"    - path: /dev/nvidia{number % 8}"]
        lines += [f"  name: {name}"]
    return "\n".join([*lines, f"kind: {KIND}", ""])


def make_claims(directory: str, count: int) -> None:
    """Write `count` claims, aged as claims on a running node are."""
    for number in range(count):
        write(directory, file_name(number), spec_text([uid(number) + "-gpu-0"]))


def write(directory: str, name: str, text: str) -> None:
    """Write one file of a spec dir, as the writers of specs do: by rename."""
    path = f"{directory}/{name}"
    with open(path + ".tmp", "w", encoding="utf-8") as file:
        file.write(text)
    os.rename(path + ".tmp", path)


def _hook(name: str, *args: str) -> list[str]:
    lines = ["  - args:", "    - nvidia-cdi-hook", f"    - {name}"]
    lines += [f"    - {arg}" for arg in args]
    lines += ["    env:", "    - NVIDIA_CTK_DEBUG=false", "    hookName: createContainer"]
    return [*lines, f"    path: {_HOOK}"]


def _paths() -> list[str]:
    paths = [f"{_LIBDIR}/lib{name}.so.{_VERSION}" for name in _LIBRARIES.split()]
    return paths + [f"/usr/bin/{name}" for name in _PROGRAMS.split()]


# What one measured process does: argv is spec dir, cache folder ("" for none), device names.
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
_BASE = _PROGRAM.replace("found = registry", "# registry")


class Lab:
    """A spec dir and a cache in a temporary folder on tmpfs, as /run is."""

    def __init__(self) -> None:
        self.root = tempfile.mkdtemp(prefix="claims-", dir="/dev/shm")
        self.specs = self.root + "/cdi"
        self.cache = self.root + "/cache"
        os.mkdir(self.specs)

    def remove(self) -> None:
        """Remove the folder."""
        shutil.rmtree(self.root)

    def run(self, *names: str, program: str = _PROGRAM) -> tuple[float, float, float]:
        """One process: ms inside it, ms of the whole process, its peak memory in MiB."""
        argv = [sys.executable, "-I", "-S", "-c", program, _library(), self.specs, self.cache]
        begin = time.perf_counter()
        done = subprocess.run([*argv, *names], stdout=subprocess.PIPE, check=True)
        whole = (time.perf_counter() - begin) * 1000
        inside, peak = (float(word) for word in done.stdout.split())
        return inside, whole, peak / 1024

    def measure(
        self,
        *names: str,
        runs: int = 21,
        before: Callable[[int], object] = lambda _run: None,
        program: str = _PROGRAM,
    ) -> str:
        """Medians (and minima) of several runs in words; `before` is called ahead of each."""
        results = []
        for number in range(runs):
            before(number)
            results.append(self.run(*names, program=program))
        inside, whole, memory = zip(*results, strict=True)
        return (
            f"{_median_and_least(inside)} ms in it, process {_median_and_least(whole)} ms, "
            f"{statistics.median(memory):5.1f} MiB"
        )


def _median_and_least(values: tuple[float, ...]) -> str:
    """The least tells what it costs on a machine that has nothing else to do."""
    return f"{statistics.median(values):7.2f} ({min(values):7.2f})"


def _library() -> str:
    """Where ocishim lies, and PyYAML, which -S does not find by itself."""
    import yaml  # noqa: PLC0415

    here = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    return here + ":" + os.path.dirname(os.path.dirname(yaml.__file__))


def main() -> None:
    """Print the registry's cost, one line a case."""
    lab = Lab()
    try:
        bare = lab.measure(program=_BASE)
        print(f"{'the same process without a registry':36} {bare}")
    finally:
        lab.remove()
    for count in (1, 56, 1000):
        _measure(lambda lab, count=count: _measure_claims(lab, count))
    _measure(_measure_devices)


def _measure(case: Callable[[Lab], None]) -> None:
    lab = Lab()
    try:
        case(lab)
    finally:
        lab.remove()


def _measure_claims(lab: Lab, count: int) -> None:
    make_claims(lab.specs, count)
    _settle()
    wanted = device(count // 2)

    def forget(_run: int) -> None:
        shutil.rmtree(lab.cache, ignore_errors=True)

    def change(run: int) -> None:
        write(lab.specs, file_name(0), spec_text([f"{uid(0)}-gpu-0"]) + f"# {run}\n")
        _settle()

    cold = lab.measure(wanted, runs=3, before=forget)
    print(f"{f'{count} claims, warm':36} {lab.measure(wanted)}")
    print(f"{f'{count} claims, one file changed':36} {lab.measure(wanted, before=change)}")
    print(f"{f'{count} claims, cold':36} {cold}")


def _measure_devices(lab: Lab) -> None:
    write(lab.specs, "many.yaml", spec_text([f"gpu-{number}" for number in range(10_000)]))
    _settle()
    wanted = f"{KIND}=gpu-9000"
    lab.run(wanted)
    print(f"{'1 of 10,000 devices of one spec':36} {lab.measure(wanted)}")


def _settle() -> None:
    time.sleep(0.05)  # until a change time is older than the clock's tick


if __name__ == "__main__":
    main()
