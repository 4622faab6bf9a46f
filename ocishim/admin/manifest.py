"""`pyshimctl manifest`: the Kubernetes objects of deploy/, with this cluster's names in them."""

from __future__ import annotations

import click

from ocishim.admin import printer
from ocishim.admin.install import ownfiles
from ocishim.errors import ConfigError

OBJECTS = {
    "namespace": "namespace.yaml",
    "runtimeclass": "runtimeclass.yaml",
    "installer": "installer.yaml",
    "test-pod": "test-pod.yaml",
}
"""The objects by name, in the order in which a cluster wants them."""

_USUAL = ("namespace", "runtimeclass", "installer")
_IMAGE = "pyshim-installer:latest"
_NAMESPACE = "pyshim-system"
_RESOURCE = "nvidia.com/gpu"


@click.command()
@click.argument("names", nargs=-1, type=click.Choice(list(OBJECTS)))
@click.option("--image", default=_IMAGE, show_default=True, help="The installer's image.")
@click.option("--namespace", default=_NAMESPACE, show_default=True, help="The installer's.")
@click.option(
    "--resource",
    default=_RESOURCE,
    show_default=True,
    help="The device plugin's resource that the test pod asks for.",
)
def command(names: tuple[str, ...], image: str, namespace: str, resource: str) -> None:
    """Print Kubernetes objects for kubectl apply -f -.

    NAMES are namespace, runtimeclass, installer and test-pod; all but test-pod by default.
    """
    texts = [_text(name) for name in OBJECTS if name in (names or _USUAL)]
    whole = "---\n".join(texts)
    for usual, wanted in ((_IMAGE, image), (_NAMESPACE, namespace), (_RESOURCE, resource)):
        whole = whole.replace(usual, wanted)
    printer.text(whole)


def _text(name: str) -> str:
    try:
        return ownfiles.deployed(OBJECTS[name])
    except OSError as err:
        message = f"{err.filename}: {err.strerror}"
        raise ConfigError(message, hint="install pyshim again") from None
