"""An image whose author annotated it with a CDI device, run by Podman without asking for anything.

Podman before 4.6 copies the annotations of an image's manifest into config.json.
"""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from typing import TYPE_CHECKING, Any

import pytest

from tests.integration.conftest import TOKEN
from tests.integration.engines import Podman
from tools.lab import leaks
from tools.lab.shim import Shim

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.root, pytest.mark.engine]

SPEC = """cdiVersion: 0.6.0
kind: acme.com/gpu
devices:
- name: "0"
  containerEdits:
    env: [ACME=zero]
    deviceNodes: [{path: /dev/acme0, hostPath: /dev/null}]
"""
SCRIPT = "busybox ls /dev | busybox grep acme; echo ${ACME-none}"
ANNOTATION = "cdi.k8s.io/evil"
REFUSAL = (
    f"annotation '{ANNOTATION}': under Podman an image's author can write it; ask by "
    "--device vendor/class=name (or set requests.podman_annotations = true)"
)


@pytest.fixture(name="podman", scope="module")
def _podman(tmp_path_factory: pytest.TempPathFactory, busybox: Path) -> Iterator[Podman]:
    Podman.is_there()
    tmp_path = tmp_path_factory.mktemp("podman")
    before = leaks.snapshot(TOKEN, str(tmp_path))
    podman = Podman(tmp_path / "engine", Shim(tmp_path / "pyshim", "runc"), TOKEN)
    podman.shim.add_spec("acme.yaml", SPEC)
    try:
        podman.start()
        podman.run(busybox, "true", "")  # conmon's folders are made with the first container
        yield podman
    finally:
        podman.stop()
    left = {
        what for what in leaks.snapshot(TOKEN, str(tmp_path)) - before if "file /run/" not in what
    }
    assert not left, "left by the engine:\n" + "\n".join(sorted(left))


@pytest.fixture(name="image", scope="module")
def _image(podman: Podman, busybox: Path) -> str:
    """The annotated image, as a registry would have given it to Podman."""
    archive = podman.folder / "evil.tar"
    _write_archive(archive, busybox, {ANNOTATION: "acme.com/gpu=0"})
    done = podman.pull(f"oci-archive:{archive}")
    assert done.returncode == 0, done
    return done.stdout.strip()


def _write_archive(path: Path, tree: Path, annotations: dict[str, str]) -> None:
    """Write an OCI image layout (image-spec, image-layout.md) of one layer as a tar archive."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as layer:
        layer.add(tree, ".")
    with tarfile.open(path, "w") as archive:

        def blob(data: bytes, kind: str) -> dict[str, Any]:
            digest = hashlib.sha256(data).hexdigest()
            _add(archive, f"blobs/sha256/{digest}", data)
            media = f"application/vnd.oci.image.{kind}"
            return {"mediaType": media, "digest": f"sha256:{digest}", "size": len(data)}

        layer_blob = blob(packed.getvalue(), "layer.v1.tar")
        rootfs = {"type": "layers", "diff_ids": [layer_blob["digest"]]}
        config = {"architecture": "amd64", "os": "linux", "rootfs": rootfs}
        manifest = {
            "schemaVersion": 2,
            "config": blob(json.dumps(config).encode(), "config.v1+json"),
            "layers": [layer_blob],
            "annotations": annotations,
        }
        listed = blob(json.dumps(manifest).encode(), "manifest.v1+json")
        index = {"schemaVersion": 2, "manifests": [listed]}
        _add(archive, "index.json", json.dumps(index).encode())
        _add(archive, "oci-layout", b'{"imageLayoutVersion": "1.0.0"}')


def _add(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(data)
    archive.addfile(member, io.BytesIO(data))


def _copies_annotations(podman: Podman) -> bool:
    version = podman.podman("version", "--format", "{{.Client.Version}}").stdout
    return tuple(map(int, version.split(".")[:2])) < (4, 6)


def test_an_images_author_gets_no_device(podman: Podman, image: str) -> None:
    result = podman.start_container(image, "/bin/sh", "-c", SCRIPT)

    assert (result.returncode, result.stdout, result.stderr) == (0, "none\n", "")
    log = podman.shim.log.read_text() if podman.shim.log.exists() else ""
    assert (REFUSAL in log) == _copies_annotations(podman), log


def test_the_attack_is_one(podman: Podman, image: str) -> None:
    """With the setting that honours them the image has the device, where Podman copies them."""
    podman.shim.configure({"requests.podman_annotations": True})
    result = podman.start_container(image, "/bin/sh", "-c", SCRIPT)

    given = "acme0\nzero\n" if _copies_annotations(podman) else "none\n"
    assert (result.returncode, result.stdout, result.stderr) == (0, given, "")
