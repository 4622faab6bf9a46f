"""What `pyshimctl configure` writes is read by the engines themselves.

containerd, dockerd and podman from this machine's packages, with files, sockets and folders of
the test's own; CRI-O by its grammar, in tests/unit/admin/test_configure_crio.py.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from ocishim.admin.editing import tomlfile
from tests.conftest import need
from tools.lab.shim import PROGRAMS

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.root, pytest.mark.engine]

CRI = "io.containerd.grpc.v1.cri"
PYSHIM = str(PROGRAMS / "pyshim")
# A private /run, and folders of the test's own in place of the machine's: SOURCE:TARGET,...
_PRIVATE = """
mount -t tmpfs tmpfs /run
for pair in $(echo "$1" | tr , ' '); do mount --bind "${pair%%:*}" "${pair#*:}"; done
shift
exec "$@"
"""
_SECONDS = 60


def private(*argv: str, binds: str = "") -> list[str]:
    """Return `argv` to be run in a mount namespace of its own."""
    return ["unshare", "-m", "--propagation", "private", "sh", "-ec", _PRIVATE, "sh", binds, *argv]


def run(*argv: str) -> str:
    """Run a command to its end; its standard output."""
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=_SECONDS)
    assert done.returncode == 0, done.stderr
    return done.stdout


def configure(engine: str, *options: str) -> str:
    """Call pyshimctl as an administrator does."""
    return run(
        sys.executable,
        "-m",
        "ocishim.admin",
        "configure",
        engine,
        "--runtime-path",
        PYSHIM,
        *options,
    )


@contextmanager
def daemon(argv: list[str], answers: list[str], log: Path) -> Iterator[None]:
    """Run the daemon `argv` while the block runs; it is up when the command `answers` succeeds."""
    with log.open("wb") as output:
        process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
    try:
        deadline = time.monotonic() + _SECONDS
        while subprocess.run(answers, capture_output=True, check=False).returncode != 0:
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.1)
        yield
    finally:
        process.terminate()
        process.wait(_SECONDS)


def dump(config: Path) -> dict[str, Any]:
    """Return the CRI plugin's settings as containerd reads them."""
    text = run("containerd", "--config", str(config), "config", "dump")
    found: dict[str, Any] = tomlfile.plain(text, "containerd config dump")["plugins"][CRI]
    return found


@pytest.fixture
def containerd(tmp_path: Path) -> Path:
    """Debian's config.toml with a node's settings, and folders of the test's own."""
    need("containerd")
    config = tmp_path / "config.toml"
    config.write_text(f"""# a node
version = 2
root = "{tmp_path}/root"
state = "{tmp_path}/state"
imports = ["{tmp_path}/conf.d/*.toml"]
[grpc]
  address = "{tmp_path}/sock"
[plugins]
  [plugins."{CRI}"]
    sandbox_image = "example.com/pause:1" # ours
    [plugins."{CRI}".cni]
      bin_dir = "{tmp_path}/cni"
      conf_dir = "{tmp_path}/net.d"
    [plugins."{CRI}".containerd]
      snapshotter = "native"
      [plugins."{CRI}".containerd.runtimes.runc]
        runtime_type = "io.containerd.runc.v2"
        [plugins."{CRI}".containerd.runtimes.runc.options]
          SystemdCgroup = true
  [plugins."io.containerd.internal.v1.opt"]
    path = "{tmp_path}/opt"
""")
    return config


def test_containerd_reads_it(containerd: Path) -> None:
    configure("containerd", "--config", str(containerd), "--set-as-default", "--enable-cdi")
    cri = dump(containerd)
    runtime = cri["containerd"]["runtimes"]["pyshim"]
    assert runtime["runtime_type"] == "io.containerd.runc.v2"
    assert runtime["container_annotations"] == ["cdi.k8s.io/*"]
    assert runtime["pod_annotations"] == []
    assert runtime["options"] == {"BinaryName": PYSHIM, "SystemdCgroup": True}
    assert cri["containerd"]["default_runtime_name"] == "pyshim"
    # What was there is still in force, which it would not be beside a drop-in.
    assert cri["sandbox_image"] == "example.com/pause:1"
    assert cri["containerd"]["runtimes"]["runc"]["options"] == {"SystemdCgroup": True}


def test_containerd_reads_our_drop_in(containerd: Path) -> None:
    text = containerd.read_text()
    start, end = (
        text.index(f'  [plugins."{CRI}"]'),
        text.index('  [plugins."io.containerd.internal'),
    )
    containerd.write_text(text[:start] + text[end:])
    configure("containerd", "--config", str(containerd), "--set-as-default")
    assert (containerd.parent / "conf.d/99-pyshim.toml").exists()
    cri = dump(containerd)
    assert cri["containerd"]["runtimes"]["pyshim"]["options"] == {"BinaryName": PYSHIM}
    assert cri["containerd"]["default_runtime_name"] == "pyshim"


def test_containerd_starts_with_it_and_without_it_again(containerd: Path, tmp_path: Path) -> None:
    need("ctr")
    before = dump(containerd)
    configure("containerd", "--config", str(containerd), "--set-as-default", "--enable-cdi")
    socket = ["--address", f"{tmp_path}/sock"]
    argv = private("containerd", "--config", str(containerd))
    with daemon(argv, ["ctr", *socket, "version"], tmp_path / "log"):
        plugins = run("ctr", *socket, "plugins", "ls")
    line = next(
        line for line in plugins.splitlines() if line.startswith(f"{CRI.rpartition('.')[0]} ")
    )
    assert line.split()[-1] == "ok"
    assert "pyshim" in (tmp_path / "log").read_text()
    configure("containerd", "--config", str(containerd), "--remove")
    assert dump(containerd) == before


@pytest.fixture
def daemon_json(tmp_path: Path) -> Path:
    """A daemon.json with a runtime and a feature of somebody else."""
    need("dockerd")
    need("docker")
    config = tmp_path / "daemon.json"
    config.write_text(
        json.dumps(
            {
                "features": {"buildkit": True},
                "runtimes": {"other": {"path": "/usr/sbin/runc"}},
            }
        )
    )
    return config


@contextmanager
def dockerd(config: Path, tmp_path: Path) -> Iterator[list[str]]:
    """A dockerd with that file; the command of its client."""
    socket = f"unix://{tmp_path}/sock"
    key_folder = tmp_path / "etc-docker"
    key_folder.mkdir()
    argv = private(
        "dockerd",
        f"--config-file={config}",
        f"--host={socket}",
        f"--data-root={tmp_path}/data",
        f"--exec-root={tmp_path}/exec",
        f"--pidfile={tmp_path}/pid",
        "--bridge=none",
        "--iptables=false",
        "--ip6tables=false",
        "--ip-forward=false",
        "--ip-masq=false",
        "--userland-proxy=false",
        "--storage-driver=vfs",
        # Before version 24 dockerd writes a key to /etc/docker, wherever its data is.
        binds=f"{key_folder}:/etc/docker" if Path("/etc/docker").is_dir() else "",
    )
    docker = ["docker", "--config", f"{tmp_path}/client", "--host", socket]
    with daemon(argv, [*docker, "version"], tmp_path / "log"):
        yield docker


def docker_info(docker: list[str]) -> dict[str, Any]:
    info: dict[str, Any] = json.loads(run(*docker, "info", "--format", "{{json .}}"))
    return info


def test_docker_reads_it(daemon_json: Path, tmp_path: Path) -> None:
    configure("docker", "--config", str(daemon_json), "--set-as-default", "--enable-cdi")
    with dockerd(daemon_json, tmp_path) as docker:
        info = docker_info(docker)
    assert info["DefaultRuntime"] == "pyshim"
    assert info["Runtimes"]["pyshim"]["path"] == PYSHIM
    assert info["Runtimes"]["other"]["path"] == "/usr/sbin/runc"
    assert json.loads(daemon_json.read_text())["features"] == {"buildkit": True, "cdi": True}


# A short name: the folder's path ends in a socket's, of 107 bytes at most (unix(7)).
def test_reload(daemon_json: Path, tmp_path: Path) -> None:
    """What the printed command does; where a restart is named a reload would not do."""
    daemon_json.write_text("{}")
    log = tmp_path / "log"

    def step(*options: str) -> str:
        return configure("docker", "--config", str(daemon_json), *options).splitlines()[-1]

    def reloaded(docker: list[str]) -> tuple[bool, str]:
        before = log.read_text().count("Reloaded configuration")
        os.kill(int((tmp_path / "pid").read_text()), signal.SIGHUP)
        for _ in range(_SECONDS * 10):
            if log.read_text().count("Reloaded configuration") > before:
                break
            time.sleep(0.1)
        info = docker_info(docker)
        return "pyshim" in info["Runtimes"], info["DefaultRuntime"]

    with dockerd(daemon_json, tmp_path) as docker:
        assert step() == "next: systemctl reload docker"
        assert reloaded(docker) == (True, "runc")
        assert step("--set-as-default") == "next: systemctl reload docker"
        assert reloaded(docker) == (True, "pyshim")
        assert step() == "next: systemctl restart docker"
        assert reloaded(docker) == (True, "pyshim")
        assert step("--remove") == "next: systemctl restart docker"


@pytest.fixture
def containers_conf(tmp_path: Path) -> str:
    """A copy of /etc/containers without drop-ins, and how to bind it."""
    need("podman")
    folder = tmp_path / "containers"
    run("cp", "-a", "/etc/containers", str(folder))
    (folder / "containers.conf").write_text('[engine]\nruntime_supports_json = ["crun"]\n')
    return f"{folder}:/etc/containers"


def podman(tmp_path: Path, binds: str, *args: str) -> list[str]:
    """Return the command `podman ARGS` with all its files below `tmp_path`."""
    return private(
        "podman",
        f"--root={tmp_path}/root",
        "--runroot=/run/podman-test",
        "--tmpdir=/run/podman-tmp",
        "--storage-driver=vfs",
        "--cgroup-manager=cgroupfs",
        "--events-backend=none",
        f"--network-config-dir={tmp_path}",
        *args,
        binds=binds,
    )


def test_podman_reads_it(containers_conf: str, tmp_path: Path) -> None:
    configure("podman", "--config", f"{tmp_path}/containers/containers.conf", "--set-as-default")
    info = json.loads(run(*podman(tmp_path, containers_conf, "info", "--format", "json")))
    assert info["host"]["ociRuntime"]["name"] == "pyshim"
    assert info["host"]["ociRuntime"]["path"] == PYSHIM
    named = run(*podman(tmp_path, containers_conf, "--runtime=runc", "info", "--format", "json"))
    assert json.loads(named)["host"]["ociRuntime"]["name"] == "runc"


def test_podman_asks_for_errors_as_json(
    containers_conf: str, tmp_path: Path, busybox: Path
) -> None:
    need("conmon")
    program = tmp_path / "bin/pyshim"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\necho "$@" >>{tmp_path}/calls\nexit 1\n')
    program.chmod(0o755)
    options = ["--config", f"{tmp_path}/containers/containers.conf", "--runtime-path", str(program)]
    configure("podman", *options)
    argv = podman(
        tmp_path,
        containers_conf,
        "--runtime=pyshim",
        "run",
        "--rm",
        "--network=none",
        "--cgroups=no-conmon",
        "--ulimit=nofile=1024:1024",
        "--ulimit=nproc=1024:1024",
        "--rootfs",
        str(busybox),
        "true",
    )
    subprocess.run(argv, capture_output=True, check=False, timeout=_SECONDS)
    create = next(
        line for line in (tmp_path / "calls").read_text().splitlines() if " create " in line
    )
    assert "--log-format=json --log" in create
