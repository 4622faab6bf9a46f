"""Which files of a root are the driver's, whatever the distribution: one row a layout."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ocishim.admin.generate import nvidia
from ocishim.admin.generate.edits import Edits
from ocishim.errors import ConfigError
from tools.lab.driverroot import LIBDIR, MODULE, OLD, VERSION, DriverRoot

pytestmark = pytest.mark.root
CUDA, ML = f"libcuda.so.{VERSION}", f"libnvidia-ml.so.{VERSION}"


@pytest.fixture
def root(tmp_path: Path) -> DriverRoot:
    """Return a root with module, nodes and nvidia-smi, and no library."""
    tree = DriverRoot(tmp_path / "root")
    tree.host()
    return tree


def generate(root: DriverRoot, **chosen: Any) -> tuple[nvidia.Generator, dict[str, Edits], Edits]:
    generator = nvidia.Generator(driver_root=str(root.root), machine="x86_64", **chosen)
    return generator, *generator.generate()


def mounts(root: DriverRoot, **chosen: Any) -> dict[str, str]:
    """Return the mounts' hostPath below the root by containerPath; all of them must be there."""
    found = {}
    for mount in generate(root, **chosen)[2].mounts:
        assert Path(mount["hostPath"]).exists()
        assert not Path(mount["hostPath"]).is_symlink()
        found[mount["containerPath"]] = mount["hostPath"].removeprefix(str(root.root))
    return found


def libraries(root: DriverRoot, **chosen: Any) -> list[str]:
    return [path for path in mounts(root, **chosen) if ".so" in path]


def linked(root: DriverRoot) -> None:
    root.core("/run/host-nvidia/0")
    for name in (CUDA, ML):
        root.link(f"{LIBDIR}/{name}", f"/run/host-nvidia/0/{name}")


def soname_links(root: DriverRoot) -> None:
    for stem in ("libcuda", "libnvidia-ml"):
        root.library(f"/opt/store/{stem}.so.{VERSION}")
        root.link(f"{LIBDIR}/{stem}.so.1", f"/opt/store/{stem}.so.{VERSION}")


def nixos(root: DriverRoot) -> None:
    root.core("/nix/store/abc-nvidia-x11/lib")
    root.link("/run/opengl-driver", "/nix/store/abc-nvidia-x11")


def guix(root: DriverRoot) -> None:
    root.core("/gnu/store/abc-nvidia-driver/lib")
    root.link("/run/current-system/profile/lib", "/gnu/store/abc-nvidia-driver/lib")


def named_by_the_cache(root: DriverRoot) -> None:
    root.core("/srv/odd/place")
    root.write("/etc/ld.so.conf", "/srv/odd/place\n")
    subprocess.run(["/sbin/ldconfig", "-X", "-r", str(root.root)], check=True)
    root.write("/etc/ld.so.conf", "")


def named_by_the_configuration(root: DriverRoot) -> None:
    root.core("/srv/odd/place")
    root.write("/etc/ld.so.conf", "include ld.so.conf.d/*.conf # ours\n")
    root.write("/etc/ld.so.conf.d/nvidia.conf", "/srv/none\n/srv/odd/place\n")


def merged_usr(root: DriverRoot) -> None:
    root.core()
    root.link("/lib", "usr/lib")


@pytest.mark.parametrize(
    ("make", "folder"),
    [
        pytest.param(lambda root: root.core(), LIBDIR, id="Debian"),
        pytest.param(lambda root: root.core("/usr/lib64"), "/usr/lib64", id="RHEL"),
        pytest.param(lambda root: root.core("/usr/lib"), "/usr/lib", id="Arch"),
        pytest.param(nixos, "/nix/store/abc-nvidia-x11/lib", id="NixOS"),
        pytest.param(guix, "/gnu/store/abc-nvidia-driver/lib", id="Guix"),
        pytest.param(
            lambda root: root.core("/usr/local/glibc/usr/lib"), "/usr/local/glibc/usr/lib", id="Talos"
        ),
        pytest.param(
            lambda root: root.core("/opt/nvidia/current/usr/lib"),
            "/opt/nvidia/current/usr/lib", id="Flatcar",
        ),
        pytest.param(
            lambda root: root.core("/home/kubernetes/bin/nvidia/lib64"),
            "/home/kubernetes/bin/nvidia/lib64", id="GKE on the node",
        ),
        pytest.param(lambda root: root.core("/lib64"), "/lib64", id="GKE's root"),
        pytest.param(
            lambda root: root.core("/var/lib/nvidia/lib64"), "/var/lib/nvidia/lib64", id="COS"
        ),
        pytest.param(linked, "/run/host-nvidia/0", id="node agent"),
        pytest.param(
            lambda root: root.core("/run/host-nvidia/7"), "/run/host-nvidia/7", id="agent's folder"
        ),
        pytest.param(soname_links, "/opt/store", id="SONAME links alone"),
        pytest.param(
            lambda root: root.core(f"{LIBDIR}/nvidia/current"), f"{LIBDIR}/nvidia/current",
            id="Debian's alternatives",
        ),
        pytest.param(
            lambda root: root.core(f"{LIBDIR}/nvidia/tesla-470"), f"{LIBDIR}/nvidia/tesla-470",
            id="Debian's other branches",
        ),
        pytest.param(
            lambda root: root.core("/usr/lib/nvidia/tesla"), "/usr/lib/nvidia/tesla",
            id="Bottlerocket",
        ),
        pytest.param(named_by_the_cache, "/srv/odd/place", id="ld.so.cache"),
        pytest.param(named_by_the_configuration, "/srv/odd/place", id="ld.so.conf"),
        pytest.param(merged_usr, LIBDIR, id="/lib is /usr/lib"),
    ],
)  # fmt: skip
def test_the_core_is_found(
    root: DriverRoot, make: Callable[[DriverRoot], None], folder: str
) -> None:
    make(root)
    assert libraries(root) == [f"{folder}/{CUDA}", f"{folder}/{ML}"]


def test_a_folder_of_the_command_line(root: DriverRoot) -> None:
    root.core("/srv/drivers")
    assert libraries(root, library_folders=("/srv/drivers",)) == [
        f"/srv/drivers/{CUDA}", f"/srv/drivers/{ML}",
    ]  # fmt: skip


def test_a_store_names_its_files_as_it_likes(root: DriverRoot) -> None:
    for number, name in enumerate((CUDA, ML)):
        root.library(f"/store/{number}", name)
        root.link(f"{LIBDIR}/{name}", f"/store/{number}")
    assert mounts(root)[f"{LIBDIR}/{CUDA}"] == "/store/0"


def test_of_branches_side_by_side_the_modules(root: DriverRoot) -> None:
    root.core(f"{LIBDIR}/nvidia/current", "570.86.15")
    root.core(f"{LIBDIR}/nvidia/tesla-550")
    for stem in ("libcuda", "libnvidia-ml"):
        root.link(f"{LIBDIR}/{stem}.so.1", f"nvidia/current/{stem}.so.1")
    assert libraries(root) == [f"{LIBDIR}/nvidia/tesla-550/{name}" for name in (CUDA, ML)]
    for branch in ("current", "tesla-550"):
        root.program(f"/usr/lib/nvidia/{branch}/nvidia-smi")
    root.at("/usr/bin/nvidia-smi").unlink()
    root.link("/usr/bin/nvidia-smi", "../lib/nvidia/current/nvidia-smi")
    assert mounts(root)["/usr/bin/nvidia-smi"] == "/usr/lib/nvidia/tesla-550/nvidia-smi"


@pytest.mark.parametrize("module", [True, False])
@pytest.mark.parametrize(("old", "version"), [(OLD, VERSION), ("535.54.03", "535.104.05")])
def test_what_an_older_driver_left_is_not_taken(
    root: DriverRoot, old: str, version: str, *, module: bool
) -> None:
    text = MODULE.format(version) if module else ""
    root.write("/proc/driver/nvidia/version", text)
    root.core(version=version)
    for stem in ("libcuda", "libnvidia-ml"):
        root.library(f"{LIBDIR}/{stem}.so.{old}")
        if not module:
            root.at(f"{LIBDIR}/{stem}.so.1").unlink()
    assert {path.partition(".so.")[2] for path in libraries(root)} == {version}


def test_the_links_say_more_than_the_numbers(root: DriverRoot) -> None:
    root.write("/proc/driver/nvidia/version", "")
    root.core()
    for stem in ("libcuda", "libnvidia-ml"):
        root.library(f"{LIBDIR}/{stem}.so.570.1.1")
    assert generate(root)[0].report.driver == VERSION


@pytest.mark.parametrize("module", [True, False])
@pytest.mark.parametrize("version", ["560.35.05", VERSION])
@pytest.mark.parametrize("folder", ["/usr/local/cuda-12.6/compat", "/opt/forward"])
def test_cuda_compat_is_no_driver(
    root: DriverRoot, folder: str, version: str, *, module: bool
) -> None:
    root.write("/proc/driver/nvidia/version", MODULE.format(VERSION) if module else "")
    root.core()
    for stem in ("libcuda", "libnvidia-ptxjitcompiler"):
        root.library(f"{folder}/{stem}.so.{version}")
    found = libraries(root, library_folders=(folder,))
    assert found[:2] == [f"{LIBDIR}/{CUDA}", f"{LIBDIR}/{ML}"] or found[-2:] == [
        f"{LIBDIR}/{CUDA}", f"{LIBDIR}/{ML}",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "path",
    [
        "libnvidia-container.so.1.17.8", "libnvidia-container-go.so.1.17.8",
        f"libnvidia-container.so.{VERSION}", f"libnvidia-tls.so.{OLD}", "libnvidia-foo.so.1",
        "libcuda.so.560.35.05", "libcudart.so.12.6.77",
        f"libnvidia-pkcs11-openssl3.so.{OLD}", f"libnvidia-nvvm.so.{OLD}", f"libnvidia-api.so.{OLD}",
    ],
)  # fmt: skip
def test_other_packages_libraries_are_left_out(root: DriverRoot, path: str) -> None:
    root.core()
    root.library(f"{LIBDIR}/{path}")
    assert libraries(root) == [f"{LIBDIR}/{CUDA}", f"{LIBDIR}/{ML}"]


@pytest.mark.parametrize(
    "name",
    [
        f"libnvidia-tls.so.{VERSION}", f"libGLX_nvidia.so.{VERSION}", "libnvidia-egl-gbm.so.1.1.2",
        "libnvidia-egl-wayland.so.1.1.13", "libnvidia-egl-wayland2.so.1.0.0",
        "libnvidia-api.so.1", "libnvidia-nvvm70.so.4", "libnvidia-nvvm.so.4.0.0",
        f"libnvidia-pkcs11-openssl3.so.{VERSION}", f"vdpau/libvdpau_nvidia.so.{VERSION}",
        "nvidia/xorg/nvidia_drv.so", f"xorg/modules/extensions/libglxserver_nvidia.so.{VERSION}",
    ],
)  # fmt: skip
def test_the_drivers_own_are_mounted(root: DriverRoot, name: str) -> None:
    root.core()
    root.library(f"{LIBDIR}/{name}")
    assert f"{LIBDIR}/{name}" in libraries(root)


@pytest.mark.parametrize("base", ["/usr/lib64/xorg", "/usr/X11R6/lib64", "/usr/X11R6/lib"])
@pytest.mark.parametrize("folder", ["modules/drivers", "modules/updates/extensions"])
def test_modules_of_xorg(root: DriverRoot, base: str, folder: str) -> None:
    root.core("/usr/lib64")
    root.library(f"{base}/{folder}/nvidia_drv.so")
    assert f"{base}/{folder}/nvidia_drv.so" in libraries(root)


@pytest.mark.parametrize(("machine", "bits"), [(3, 32), (183, 64), (62, 32)])
@pytest.mark.parametrize("name", [f"libnvidia-tls.so.{VERSION}", "nvidia/libnvidia-api.so.1"])
def test_libraries_of_other_machines_are_left_out(
    root: DriverRoot, name: str, machine: int, bits: int
) -> None:
    root.core()
    root.library(f"/usr/lib/{name}", machine=machine, bits=bits)
    assert libraries(root) == [f"{LIBDIR}/{CUDA}", f"{LIBDIR}/{ML}"]


def test_the_core_of_another_machine_is_none(root: DriverRoot) -> None:
    root.core("/usr/lib32")
    for name in (CUDA, ML):
        root.library(f"/usr/lib/{name}", machine=3, bits=32)
    with pytest.raises(ConfigError, match="no NVIDIA driver found"):
        generate(root)


@pytest.mark.parametrize(
    ("there", "told"),
    [
        ([CUDA], f"libcuda.so of {VERSION}, libnvidia-ml.so of no version"),
        ([ML], f"libcuda.so of no version, libnvidia-ml.so of {VERSION}"),
        (
            [CUDA, "libnvidia-ml.so.550.54.15", "libnvidia-ml.so.535.104.05"],
            f"libcuda.so of {VERSION}, libnvidia-ml.so of 535.104.05 and 550.54.15",
        ),
    ],
)
def test_half_a_driver_is_none(root: DriverRoot, there: list[str], told: str) -> None:
    for name in there:
        root.library(f"{LIBDIR}/{name}")
    with pytest.raises(ConfigError) as caught:
        generate(root)
    assert caught.value.message == (
        f"no whole NVIDIA driver in {root.root}: {told} in {LIBDIR}, /usr/lib"
    )


PTX = "CUDA cannot compile PTX (error 221), as older programs ask"
NVVM = "CUDA cannot compile NVVM IR, as linking at run time asks"


@pytest.mark.parametrize(
    ("version", "there", "lacks"),
    [
        pytest.param("550.163.01", [], [f"libnvidia-ptxjitcompiler.so.550.163.01: {PTX}",
                                        f"libnvidia-nvvm.so.550.163.01: {NVVM}"], id="both"),
        pytest.param("590.48.01", ["libnvidia-ptxjitcompiler.so.590.48.01"],
                     [f"libnvidia-nvvm.so.590.48.01: {NVVM}"], id="Debian's libcuda1"),
        pytest.param("470.256.02", ["libnvidia-ptxjitcompiler.so.470.256.02",
                                    "libnvidia-nvvm.so.4.0.0"], [], id="470's NVVM"),
        pytest.param("460.106.00", ["libnvidia-ptxjitcompiler.so.460.106.00"], [],
                     id="before there was NVVM"),
        pytest.param("550.163.01", ["libnvidia-ptxjitcompiler.so.550.54.15",
                                    "libnvidia-nvvm.so.550.163.01"],
                     [f"libnvidia-ptxjitcompiler.so.550.163.01: {PTX}"], id="an older driver's"),
    ],
)  # fmt: skip
def test_what_libcuda_opens_is_missing(
    root: DriverRoot, version: str, there: list[str], lacks: list[str]
) -> None:
    """Debian and Ubuntu have them in packages of their own."""
    root.write("/proc/driver/nvidia/version", MODULE.format(version))
    root.core(version=version)
    for name in there:
        root.library(f"{LIBDIR}/{name}")
    missing = generate(root)[0].report.missing
    assert [lack.what for lack in missing] == [f"no {lack}" for lack in lacks]
    assert {lack.remedy for lack in missing} <= {"install the driver's packages whole"}


def test_what_a_library_is_loaded_with_is_missing(root: DriverRoot) -> None:
    """Ubuntu's headless split and Debian's packages: libnvidia-gpucomp is one of its own."""
    root.core()
    root.compilers()
    compiler = f"libnvidia-gpucomp.so.{VERSION}"
    for stem in ("libnvidia-eglcore", "libnvidia-glcore"):
        root.loaded_with(f"{LIBDIR}/{stem}.so.{VERSION}", compiler, "libX11.so.6")
    assert [lack.what for lack in generate(root)[0].report.missing] == [
        f"no {compiler}: libnvidia-eglcore.so.{VERSION} and 1 more cannot be loaded"
    ]
    root.library(f"{LIBDIR}/{compiler}")
    assert generate(root)[0].report.missing == []


def test_what_cannot_be_loaded_is_missing(root: DriverRoot) -> None:
    root.core()
    root.compilers()
    root.write(f"{LIBDIR}/{CUDA}", "")
    assert [lack.what for lack in generate(root)[0].report.missing] == [
        f"{LIBDIR}/{CUDA} is no ELF file: programs cannot load it"
    ]


def test_the_module_is_another_drivers(root: DriverRoot) -> None:
    root.core(version="570.86.15")
    root.compilers(version="570.86.15")
    report = generate(root)[0].report
    assert [(lack.what, lack.remedy) for lack in report.missing] == [(
        ("the libraries are of driver 570.86.15, the module that runs is 550.163.01: "
         "nothing works until they are the same"),
        "reboot, and generate the spec again",
    )]  # fmt: skip


@pytest.mark.parametrize(
    ("path", "hint"),
    [
        ("/etc/nv_tegra_release", "this is a Jetson, whose driver has no such files: --mode csv"),
        ("/dev/dxg", "/dev/dxg is WSL's, and /usr/lib/wsl, where its driver is, is not mounted here"),
        ("/etc/os-release", ("name the driver's root with --driver-root, or its folder with "
                             "--library-folder")),
    ],
)  # fmt: skip
def test_another_vendors_way(root: DriverRoot, path: str, hint: str) -> None:
    root.library(f"{LIBDIR}/libcuda.so.1.1", "libcuda.so.1")
    root.write(path)
    with pytest.raises(ConfigError) as caught:
        generate(root)
    assert caught.value.hint == hint


RELEASE = subprocess.run(["uname", "-r"], capture_output=True, text=True, check=True).stdout.strip()


@pytest.mark.parametrize(
    ("path", "container"),
    [
        ("/usr/sbin/nvidia-cuda-mps-server", ""),
        ("/bin/nvidia-debugdump", ""),
        ("/usr/libexec/nvidia-persistenced", "/usr/bin/nvidia-persistenced"),
        ("/opt/bin/nvidia-imex", "/usr/bin/nvidia-imex"),
        ("/run/current-system/sw/bin/nvidia-debugdump", "/usr/bin/nvidia-debugdump"),
        ("/usr/share/vulkan/icd.d/nvidia_icd.x86_64.json", ""),
        ("/vulkan/icd.d/nvidia_icd.json", "/etc/vulkan/icd.d/nvidia_icd.json"),
        ("/etc/vulkan/implicit_layer.d/nvidia_layers.json", ""),
        ("/usr/share/egl/egl_external_platform.d/09_nvidia_wayland2.json", ""),
        ("/run/opengl-driver/share/glvnd/egl_vendor.d/10_nvidia.json",
         "/usr/share/glvnd/egl_vendor.d/10_nvidia.json"),
        ("/usr/share/X11/xorg.conf.d/10-nvidia.conf", ""),
        ("/etc/X11/xorg.conf.d/nvidia-drm-outputclass.conf", ""),
        (f"{LIBDIR}/nvoptix.bin", "/usr/share/nvidia/nvoptix.bin"),
        (f"/lib/firmware/updates/nvidia/{VERSION}/gsp_ga10x.bin", ""),
        (f"/lib/firmware/{RELEASE}/nvidia/{VERSION}/gsp_tu10x.bin", ""),
        (f"/firmware/nvidia/{VERSION}/gsp_tu10x.bin",
         f"/lib/firmware/nvidia/{VERSION}/gsp_tu10x.bin"),
        ("/run/nvidia-persistenced/socket", ""),
        ("/var/run/nvidia-fabricmanager/socket", "/run/nvidia-fabricmanager/socket"),
        ("/tmp/nvidia-mps", ""),
    ],
)  # fmt: skip
def test_other_files(root: DriverRoot, path: str, container: str) -> None:
    root.core()
    root.program(path)
    assert mounts(root)[container or path] == path


def test_no_program_of_another_machine(root: DriverRoot) -> None:
    root.core()
    root.library("/usr/bin/nvidia-debugdump", machine=183)
    root.at("/usr/bin/nvidia-debugdump").chmod(0o755)
    assert "/usr/bin/nvidia-debugdump" not in mounts(root)


def test_alternatives_are_followed_in_the_root(root: DriverRoot) -> None:
    root.core()
    root.at("/usr/bin/nvidia-smi").unlink()
    root.program("/usr/lib/nvidia/current/nvidia-smi")
    root.link("/usr/bin/nvidia-smi", "/etc/alternatives/nvidia--nvidia-smi")
    root.link("/etc/alternatives/nvidia--nvidia-smi", "/usr/lib/nvidia/current/nvidia-smi")
    assert mounts(root)["/usr/bin/nvidia-smi"] == "/usr/lib/nvidia/current/nvidia-smi"


def test_a_link_in_a_circle_is_passed_over(root: DriverRoot) -> None:
    root.core()
    for path in (f"{LIBDIR}/libcuda.so.2", "/usr/sbin/nvidia-debugdump", "/usr/lib64"):
        root.link(path, path)
    assert libraries(root) == [f"{LIBDIR}/{CUDA}", f"{LIBDIR}/{ML}"]


def test_no_sockets(root: DriverRoot) -> None:
    root.core()
    root.write("/run/nvidia-persistenced/socket")
    assert "/run/nvidia-persistenced/socket" not in mounts(root, with_sockets=False)


def test_a_relative_root(root: DriverRoot, monkeypatch: pytest.MonkeyPatch) -> None:
    root.core()
    monkeypatch.chdir(root.root.parent)
    generator = nvidia.Generator(driver_root="root", machine="x86_64")
    devices, common = generator.generate()
    nodes = [*devices["0"].deviceNodes, *common.deviceNodes]
    assert all(node["hostPath"].startswith(f"{root.root}/dev/") for node in nodes)
    assert all(mount["hostPath"].startswith(f"{root.root}/") for mount in common.mounts)


def test_of_two_that_have_one_soname_the_linked_one(root: DriverRoot) -> None:
    root.core()
    for version in ("1.1.0", "1.1.2"):
        root.library(f"{LIBDIR}/libnvidia-egl-gbm.so.{version}")
    root.link(f"{LIBDIR}/libnvidia-egl-gbm.so.1", "libnvidia-egl-gbm.so.1.1.0")
    assert [path for path in libraries(root) if "gbm" in path] == [
        f"{LIBDIR}/libnvidia-egl-gbm.so.1.1.0"
    ]


def links(root: DriverRoot) -> list[str]:
    common = generate(root)[2].as_dict()
    words: list[str] = next(h["args"] for h in common["hooks"] if h["args"][1] == "create-symlinks")
    return words[3::2]


@pytest.mark.parametrize(
    ("name", "on_the_host", "expected"),
    [
        pytest.param(f"libnvidia-tls.so.{VERSION}", "", ["libnvidia-tls.so.1"], id="SONAME"),
        pytest.param(
            f"libnvidia-tls.so.{VERSION}", "libnvidia-tls.so",
            ["libnvidia-tls.so.1", "libnvidia-tls.so"], id="linker's name",
        ),
        pytest.param(
            f"libnvidia-opticalflow.so.{VERSION}", "",
            ["libnvidia-opticalflow.so.1", "libnvidia-opticalflow.so"], id="opened by that name",
        ),
    ],
)  # fmt: skip
def test_links_are_those_of_the_host(
    root: DriverRoot, name: str, on_the_host: str, expected: list[str]
) -> None:
    root.core()
    root.library(f"{LIBDIR}/{name}")
    if on_the_host:
        root.link(f"{LIBDIR}/{on_the_host}", name)
    stem = name.partition(".so")[0]
    assert [
        path.rpartition("/")[2]
        for _, _, path in (word.partition("::") for word in links(root))
        if stem in path
    ] == expected
