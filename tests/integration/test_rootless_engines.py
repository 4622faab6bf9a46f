"""Docker and buildah of an ordinary user, with pyshim as their runtime.

Docker as its dockerd-rootless.sh starts it: rootlesskit makes the user namespace, /etc and /run are
copies. The network is a namespace without anything, so that slirp4netns and /dev/net/tun are not
needed. A request is a variable, since neither Docker 20.10 nor buildah 1.28 has a --device for it.
"""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.integration.rootless import Rootless
from tools.lab.shim import Shim

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.root, pytest.mark.engine]

SPEC = {
    "cdiVersion": "0.6.0",
    "kind": "acme.com/demo",
    "devices": [{"name": "0", "containerEdits": {
        "deviceNodes": [{"path": "/dev/acme0", "hostPath": "/dev/zero"}],
        "env": ["ACME=zero"],
        "hooks": [{"hookName": "createContainer", "path": "/usr/bin/nvidia-cdi-hook",
                   "args": ["nvidia-cdi-hook", "create-symlinks", "--link", "busybox::/bin/acme"]}],
    }}],
}  # fmt: skip
"""As JSON: the user may not be able to read the environment that a clone's PyYAML lies in."""
# Eight bytes of /dev/zero: no other device says nothing but NUL.
LOOK = "readlink /bin/acme; head -c 8 /dev/acme0 | od -An -tx1; echo ACME=$ACME"
GIVEN = "busybox\n 00 00 00 00 00 00 00 00\nACME=zero\n"
NOT_THERE = "unresolvable CDI devices acme.com/demo=9"

_DOCKER = """
rm -f /run/docker /run/containerd /run/xtables.lock
export DOCKER_HOST=unix://$XDG_RUNTIME_DIR/docker.sock
dockerd --config-file "$HOME/daemon.json" --data-root "$HOME/data" --pidfile "$HOME/docker.pid" \
    --exec-root "$XDG_RUNTIME_DIR/docker" --host "$DOCKER_HOST" --rootless --storage-driver=vfs \
    --bridge=none --iptables=false --ip-forward=false >"$HOME/docker.log" 2>&1 &
daemon=$!
trap 'kill $daemon; wait $daemon' EXIT
until docker version >"$HOME/client.log" 2>&1; do
    kill -0 $daemon || { cat "$HOME/docker.log" >&2; exit 1; }
done
docker import "$HOME/tree.tar" rootfs >"$HOME/client.log"
run="docker run --rm --network=none --security-opt=seccomp=unconfined --runtime=pyshim"
"""
_BUILDAH = """
b="buildah --storage-driver=vfs"
run="$b run --runtime=$HOME/pyshim --isolation=rootless --network=none"
c=$($b from scratch)
$b add --quiet "$c" "$HOME/tree.tar" / >"$HOME/client.log"
"""


@pytest.fixture(scope="module", name="user")
def _user(
    tmp_path_factory: pytest.TempPathFactory,
    programs: Path,
    busybox: Path,
    lowlevels: dict[str, Path],
) -> Iterator[Rootless]:
    folder = tmp_path_factory.mktemp("rootless")
    user = Rootless(folder / "home", Shim(folder / "pyshim", lowlevels["runc"], programs))
    table = {"name": "ACME_VISIBLE_DEVICES", "kind": "acme.com/demo", "unprivileged": True}
    user.shim.configure({"requests.env": [table], "log.file": ""})
    user.shim.add_spec("acme.json", json.dumps(SPEC))
    tree = user.folder / "tree.tar"
    subprocess.run(["tar", "-C", str(busybox), "-cf", str(tree), "."], check=True)
    daemon = f'{{"runtimes": {{"pyshim": {{"path": "{user.runtime}"}}}}}}'
    (user.folder / "daemon.json").write_text(daemon)
    # It raises limits to what it may not on a machine without CAP_SYS_RESOURCE.
    limits = '[containers]\ndefault_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]\n'
    user.conf.write_text(limits)
    yield user
    user.call("buildah", "unshare", "rm", "-rf", f"{user.folder}/.local", f"{user.folder}/data")
    user.forget()


def docker(user: Rootless, script: str) -> tuple[int, str, str]:
    """Run the shell `script` beside a daemon of the user's; `$run` is the run command."""
    Rootless.is_there("docker", "dockerd", "rootlesskit", "unshare")
    kit = ("--net=host", "--copy-up=/etc", "--copy-up=/run", "--propagation=rslave")
    result = user.call("rootlesskit", *kit, "unshare", "-n", "sh", "-ec", f"{_DOCKER}{script}")
    return result.returncode, result.stdout, result.stderr


def buildah(user: Rootless, script: str) -> tuple[int, str, str]:
    """Run the shell `script` with a working container `$c`; `$run` is the run command."""
    Rootless.is_there("buildah")
    result = user.call("sh", "-ec", f"{_BUILDAH}{script}")
    return result.returncode, result.stdout, result.stderr


def test_docker(user: Rootless) -> None:
    status, out, err = docker(user, f"$run -e ACME_VISIBLE_DEVICES=0 rootfs /bin/sh -c '{LOOK}'")
    assert (status, out) == (0, GIVEN), err


def test_docker_tells_why_there_is_no_device(user: Rootless) -> None:
    status, _, err = docker(user, "$run -e ACME_VISIBLE_DEVICES=9 rootfs /bin/true")
    assert status == 125
    assert NOT_THERE in err


def test_buildah_run(user: Rootless) -> None:
    ask = "$run --env ACME_VISIBLE_DEVICES"
    status, out, err = buildah(user, f"{ask}=0 $c /bin/sh -c '{LOOK}'")
    assert (status, out) == (0, GIVEN), err
    status, _, err = buildah(user, f"{ask}=9 $c /bin/true")
    assert status != 0
    assert NOT_THERE in err


def test_buildah_build(user: Rootless) -> None:
    lines = [
        "FROM localhost/rootfs",
        "RUN echo ACME=$ACME >/before",
        "ENV ACME_VISIBLE_DEVICES=0",
        f"RUN {{ {LOOK}; }} >/after",
    ]
    (user.folder / "Containerfile").write_text("\n".join(lines))
    script = """
$b commit --quiet "$c" rootfs >"$HOME/client.log"
mkdir -p "$HOME/context"
$b build --runtime="$HOME/pyshim" --isolation=rootless --network=none --quiet --tag built \
    --file "$HOME/Containerfile" "$HOME/context" >"$HOME/client.log"
$b run --isolation=chroot "$($b from localhost/built)" /bin/cat /before /after
"""
    status, out, err = buildah(user, script)
    assert (status, out) == (0, f"ACME=\n{GIVEN}"), err
