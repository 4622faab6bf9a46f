"""`pyshimctl daemonset`: what the installer's image does on the node where a pod of it runs.

The options are the pod's environment (deploy/installer.yaml). Leaves installing and an engine's
files to the commands that are there, and adds the restart.
"""

from __future__ import annotations

import os
import signal
import socket
from typing import Any

import click

from ocishim.admin import printer
from ocishim.admin.configure import command as configure
from ocishim.admin.engines import ENGINES, Plan
from ocishim.admin.host import Host
from ocishim.admin.install import inuse
from ocishim.admin.install.command import install
from ocishim.admin.install.installation import PREFIX
from ocishim.admin.install.uninstall import uninstall
from ocishim.errors import ConfigError

PENDING = "/run/pyshim-installer.restart"
"""There while the engine has yet to be restarted; a reboot, which restarts it, takes it away."""
_CRIO = "/run/crio/crio.sock"
_DELETE = "delete these pods; a next try of this one, which the kubelet makes, removes the rest"


@click.command()
@click.argument("action", type=click.Choice(["install", "remove", "wait"]))
@click.option(
    "--engine",
    type=click.Choice(["auto", *ENGINES]),
    default="auto",
    show_default=True,
    envvar="ENGINE",
    show_envvar=True,
    help="auto is CRI-O where its socket is, else containerd; a name wants no installed program.",
)
@click.option(
    "--config",
    metavar="FILE",
    envvar="CONFIG",
    show_envvar=True,
    help="The engine's file, if not the usual one.",
)
@click.option(
    "--service",
    metavar="UNIT",
    envvar="SERVICE",
    show_envvar=True,
    help="The unit to restart, if not the engine's usual one.",
)
@click.option(
    "--prefix",
    default=PREFIX,
    show_default=True,
    metavar="DIR",
    envvar="PREFIX",
    show_envvar=True,
    help="As of pyshimctl install.",
)
@click.option(
    "--set-as-default",
    is_flag=True,
    envvar="SET_AS_DEFAULT",
    show_envvar=True,
    help="Also make pyshim the engine's default runtime.",
)
@click.option(
    "--enable-cdi",
    is_flag=True,
    envvar="ENABLE_CDI",
    show_envvar=True,
    help="Also switch the engine's own CDI support on.",
)
@click.option(
    "--refresh",
    is_flag=True,
    envvar="REFRESH",
    show_envvar=True,
    help="Also have the node's systemd keep the CDI spec of its GPUs fresh.",
)
@click.option(
    "--host-root",
    default="/host",
    show_default=True,
    metavar="DIR",
    envvar="HOST_ROOT",
    show_envvar=True,
    help="Where the node's root is mounted.",
)
@click.pass_context
def command(  # noqa: PLR0917 - click calls it by name
    context: click.Context,
    action: str,
    engine: str,
    config: str | None,
    service: str | None,
    prefix: str,
    host_root: str,
    *,
    set_as_default: bool,
    enable_cdi: bool,
    refresh: bool,
) -> None:
    """Do what the installer's image is for: install, remove, or wait until told to end.

    install puts pyshim in place and registers it; remove takes both back, but while pods run that
    need pyshim's name only that it is the default. The engine is restarted when its configuration
    changed, now or in a try before whose restart failed: the kubelet starts a failed pod again.

    Exit status: 0 done, 1 failed, and the next try makes up for it, 2 wrong command line.
    """
    if action == "wait":
        _wait()
        return
    host = Host(host_root)
    name = _engine(host) if engine == "auto" else engine
    place = {"prefix": prefix, "host_root": host_root}
    wish = {"engine": name, "file": config, "host_root": host_root, "enable_cdi": enable_cdi}
    # Who names the engine knows it; its program may lie where nobody looks.
    wish |= {"program": f"{prefix}/bin/pyshim", "force": engine != "auto"}
    if action == "install":
        context.invoke(install, **place, refresh=refresh)
        plan = context.invoke(configure, **wish, set_as_default=set_as_default)
        _restart(host, service or plan.unit or name, changed=plan.changes)
    elif _unregistered(context, host, service or "", wish):
        context.invoke(uninstall, **place)


def _unregistered(context: click.Context, host: Host, service: str, wish: dict[str, Any]) -> bool:
    """Take the runtime out of the engine; False when this very pod still needs the program.

    Raises InUseError while other pods need the runtime's name. It stays with them; the default does
    not, so that those which begin now have another runtime.
    """
    fault = ""
    plan: Plan | None = None
    try:
        plan = context.invoke(configure, **{**wish, "force": False}, remove=True)
    except inuse.InUseError as err:
        fault = err.fault
        if host.is_program(wish["program"]):
            plan = context.invoke(configure, **wish)
    unit = service or (plan.unit if plan else "") or wish["engine"]
    _restart(host, unit, changed=plan is not None and plan.changes)
    if _runs_this_pod(host, wish["program"]):
        return False
    if fault:
        raise inuse.InUseError(fault, hint=_DELETE)
    return True


def _engine(host: Host) -> str:
    return "crio" if host.exists(_CRIO) else "containerd"


def _runs_this_pod(host: Host, program: str) -> bool:
    """Whether this very pod needs `program` to be stopped: it began when that was the default."""
    name = socket.gethostname()
    if all(one.pod.partition("/")[2] != name for one in inuse.of(host, program)):
        return False
    printer.line(
        f"note: this pod itself runs under {program}, which stays until a new one removes it:"
        " kubectl rollout restart this DaemonSet once more",
        err=True,
        fg="yellow",
    )
    return True


def _restart(host: Host, unit: str, *, changed: bool) -> None:
    """Restart the engine if need be. Raises ConfigError with systemctl's words."""
    pending = host.real(PENDING)
    if changed:
        os.makedirs(os.path.dirname(pending), exist_ok=True)
        with open(pending, "w", encoding="ascii"):
            pass
    if not os.path.exists(pending):
        return
    printer.line(f"restarting {unit}")
    done = host.run("systemctl", "restart", unit)
    if done.returncode:
        words = " ".join(done.stderr.split()) or f"exit status {done.returncode}"
        raise ConfigError(
            f"systemctl restart {unit}: {words}",
            hint=f"look at the unit on the node, or name another one: SERVICE=UNIT, not {unit}",
        )
    os.unlink(pending)


def _wait() -> None:
    """Return at SIGTERM or SIGINT, which a pod's first process gets only if it asks for them."""
    ends = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, ends)
    signal.sigwait(ends)
