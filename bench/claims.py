"""A node with many DRA claims: spec files as the GPU driver's kubelet plugin writes them.

One file per claim, kind `k8s.gpu.nvidia.com/claim`, one device `<uid>-gpu-0`; the driver's 40
mounts, its environment and hooks are in every file. Leaves measuring to creates.py and registry.py.
"""

from __future__ import annotations

import os
import stat

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
    names: list[str],
    mounts: int = 40,
    *,
    root: str = "",
    hooks: bool = True,
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
