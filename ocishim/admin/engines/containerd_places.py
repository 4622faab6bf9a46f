"""The containerds that a node may have: their programs, their files, and the unit to restart.

k3s and RKE2 render containerd's file at each start, from a template beside it or with imports; k0s
writes one that imports drop-ins, before its 1.36 what it made of them itself; MicroK8s renders a
template in TOML whose values are shell variables. Sources: k3s' and k0s' pages on "Configuring
containerd" and "Runtime", k0s' pkg/component/worker/containerd, microk8s' run-containerd-with-args.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from ocishim.admin.engines import programs
from ocishim.errors import ConfigError

if TYPE_CHECKING:
    from ocishim.admin.host import Host

CONFIG = "/etc/containerd/config.toml"
K0S_CONFIG = "/etc/k0s/containerd.toml"
K0S_DROP_INS = "/etc/k0s/containerd.d"
K0S_MARK = "k0s_managed=true"  # in the file's first line, while k0s writes it
_MICROK8S = "/var/snap/microk8s/current/args/containerd-template.toml"
_MICROK8S_SAYS = {"${RUNTIME}": "runc", "${RUNTIME_TYPE}": "io.containerd.runc.v2"}
_UNITS = tuple(f"{one}/systemd/system" for one in ("/etc", "/usr/local/lib", "/usr/lib", "/lib"))


class Place(NamedTuple):
    """One containerd: its programs by name or path, its file, and the units that start it."""

    name: str
    programs: tuple[str, ...]
    config: str
    units: tuple[str, ...]

    def program(self, host: Host) -> str:
        """Return the path of its containerd on `host`, "" for none."""
        found = programs.find(host, self.programs)
        others = {path for place in PLACES if place is not self for path in place.programs}
        return "" if found in others else found  # RKE2's users have its folder in PATH

    def is_on(self, host: Host) -> bool:
        """Whether `host` has it."""
        try:
            return self.program(host) != "" or (self is not USUAL and host.is_file(self.config))
        except ConfigError:  # a loop of links leads to no file
            return False

    def unit(self, host: Host) -> str:
        """Return the systemd unit whose restart has it read its files anew.

        RKE2 puts the units of server and agent on every node: the one that is enabled counts.
        """
        enabled = [f"{_UNITS[0]}/{one}.target.wants" for one in ("multi-user", "default")]
        for folders in (enabled, _UNITS):
            for unit in self.units:
                if any(host.has(f"{folder}/{unit}.service") for folder in folders):
                    return unit
        return self.units[0]


def _rancher(name: str, program: str, units: tuple[str, ...]) -> Place:
    folder = f"/var/lib/rancher/{name}"
    return Place(
        name, (f"{folder}/{program}",), f"{folder}/agent/etc/containerd/config.toml", units
    )


USUAL = Place("containerd", ("containerd",), CONFIG, ("containerd",))
PLACES = (
    USUAL,
    _rancher("k3s", "data/current/bin/containerd", ("k3s", "k3s-agent")),
    _rancher("rke2", "bin/containerd", ("rke2-server", "rke2-agent")),
    Place("k0s", ("/var/lib/k0s/bin/containerd",), K0S_CONFIG, ("k0scontroller", "k0sworker")),
    Place(
        "microk8s",
        ("/snap/microk8s/current/bin/containerd",),
        _MICROK8S,
        ("snap.microk8s.daemon-containerd",),
    ),
)


def there(host: Host) -> list[Place]:
    """Return the containerds that `host` has."""
    return [place for place in PLACES if place.is_on(host)]


def of(config: str) -> Place:
    """Return the place whose folder has the file `config`, the usual one for any other."""
    for place in PLACES[1:]:
        folder = place.config.rpartition("/")[0]
        if config.startswith(f"{folder}/"):
            return place
    return USUAL


def rendered(config: str, text: str) -> str:
    """Return what containerd gets to read of the text of `config`: MicroK8s' variables stand in."""
    for variable, value in _MICROK8S_SAYS.items() if config == _MICROK8S else ():
        text = text.replace(variable, value)
    return text
