"""What low-level runtimes do otherwise than others: hooks, mounts, network interfaces.

Pure. createContainer hooks are run by the low-level runtime, or by pyshim before it: gVisor runs
them from release 20260520 on whatever its `features` say; crun before 1.26 has made a read-only
root unwritable by then; runc and youki run them in time.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ocishim.lowlevel.lowlevel import Version

RUNTIME = "runtime"
SHIM = "shim"

_RUNSC_SINCE = (20260520,)
_CRUN_SINCE = (1, 26)


def maps_mounts(version: Version) -> bool:
    """Whether the runtime has mapped mounts: youki 0.7 refuses the option (its features: false)."""
    return version.kind != "youki"


def keeps_net_devices(version: Version) -> bool:
    """Whether linux.netDevices arrive whole, where the runtime's features have them at all.

    runc 1.4 to 1.6 loses global IPv6 addresses of an interface whose peer is down; crun 1.28 does
    nothing in the host's network, and loses the interface when its name is taken.
    """
    return version.kind not in ("runc", "crun")


def mounts_by_options(version: Version) -> bool:
    """Whether a mount without `bind` among its options fails, whatever its type says.

    gVisor leaves such a mount out; youki goes by the type.
    """
    return version.kind in ("runc", "crun")


def choose(setting: str, version: Version, *, root_readonly: bool) -> tuple[str, str]:
    """Return the executor, RUNTIME or SHIM, and the reason as half a sentence.

    setting: `hooks.executor`. root_readonly: root.readonly of config.json.
    """
    if setting != "auto":
        return setting, f"hooks.executor is '{setting}'"
    name = f"{version.kind} {version.text}"
    if version.kind == "runsc" and version.number < _RUNSC_SINCE:
        return SHIM, f"{name} does not run createContainer hooks"
    if version.kind == "crun" and version.number < _CRUN_SINCE and root_readonly:
        return SHIM, f"{name} makes the root read-only before it runs them"
    if version.kind:
        return RUNTIME, f"{name} runs createContainer hooks"
    return RUNTIME, "the runtime is not one pyshim knows better"
