"""The containerds that a node may have: their programs, their files, and the unit to restart.

k3s and RKE2 render containerd's file at each start, from a template beside it or with imports; k0s
from drop-ins of its own; MicroK8s from a template that is TOML. Sources: k3s' and k0s' pages on
"Configuring containerd" and "Runtime", microk8s' launch/containerd.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from ocishim.admin.engines import programs

if TYPE_CHECKING:
    from ocishim.admin.host import Host

CONFIG = "/etc/containerd/config.toml"
K0S_CONFIG = "/etc/k0s/containerd.toml"
K0S_DROP_INS = "/etc/k0s/containerd.d"
K0S_MARK = "k0s_managed=true"  # in the file's first line, while k0s writes it


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
        return self.program(host) != "" or (self is not USUAL and host.is_file(self.config))

    def next_step(self, host: Host) -> str:
        """Return the command that has it read its files anew."""
        folders = ("/etc/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system")
        there = (
            unit
            for unit in self.units
            if any(host.is_file(f"{folder}/{unit}.service") for folder in folders)
        )
        return f"systemctl restart {next(there, self.units[0])}"


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
        "/var/snap/microk8s/current/args/containerd-template.toml",
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
