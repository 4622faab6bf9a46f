"""What low-level runtimes do otherwise, one row each; plan and doctor ask it here. Pure.

Facts: gVisor runs createContainer hooks from release 20260520 on, whatever its `features` say,
where no device node is to be seen; crun before 1.26 has made a read-only root unwritable by then,
and 1.21 enters the bundle as the container's root before a hook, which ends in "exit code: 1" where
it may not; runc before 1.3 gives a hook that names no environment the image's; youki 0.7 refuses
mapped mounts (its features: false); runc 1.4 loses global IPv6 addresses of a network device whose
peer is down, crun 1.28 does nothing in the host's network and loses the device when its name is
taken.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ocishim.lowlevel.lowlevel import Version

RUNTIME = "runtime"
SHIM = "shim"

EVER: tuple[int, ...] = ()
"""In every version."""


class Runtime:
    """One low-level runtime; versions are the first that do it right.

    runs_hooks: the createContainer hooks. shows_devices: the container's device nodes, to them.
    readonly: makes the root read-only only after them. environment: a hook without environment gets
    none of the image's. keeps_net_devices: linux.netDevices arrive whole, where its features have
    them at all. maps_mounts: has mapped mounts. mounts_by_options: a mount without `bind` among its
    options fails, whatever its type says (gVisor leaves such a mount out; youki goes by the type).
    enters_bundle: as the container's root, before it runs createContainer hooks. waits_for_output:
    of a hook, until nobody holds it, whatever the hook's timeout. waits_for_reader: writes a hook's
    state before it minds its timeout, and one that does not fit into a pipe stops it there; crun
    fails where the hook ends without having read it. own_root: shows the container a
    file system of its own: an annotation can make the root another one, further containers of a pod
    are opened at `start` only, and no hook's mount gets there.
    """

    __slots__ = (
        "enters_bundle", "environment", "keeps_net_devices", "maps_mounts", "mounts_by_options",
        "own_root", "readonly", "runs_hooks", "shows_devices", "waits_for_output",
        "waits_for_reader",
    )  # fmt: skip

    def __init__(
        self,
        *,
        runs_hooks: tuple[int, ...] = EVER,
        shows_devices: bool = True,
        readonly: tuple[int, ...] = EVER,
        environment: tuple[int, ...] = EVER,
        maps_mounts: bool = True,
        keeps_net_devices: bool = True,
        mounts_by_options: bool = False,
        enters_bundle: bool = False,
        waits_for_output: bool = False,
        waits_for_reader: bool = False,
        own_root: bool = False,
    ) -> None:
        self.runs_hooks = runs_hooks
        self.shows_devices = shows_devices
        self.readonly = readonly
        self.environment = environment
        self.maps_mounts = maps_mounts
        self.keeps_net_devices = keeps_net_devices
        self.mounts_by_options = mounts_by_options
        self.enters_bundle = enters_bundle
        self.waits_for_output = waits_for_output
        self.waits_for_reader = waits_for_reader
        self.own_root = own_root


RUNTIMES = {
    "runc": Runtime(
        environment=(1, 3), mounts_by_options=True, keeps_net_devices=False, waits_for_output=True
    ),
    "crun": Runtime(
        readonly=(1, 26),
        mounts_by_options=True,
        keeps_net_devices=False,
        enters_bundle=True,
        waits_for_reader=True,
    ),
    "youki": Runtime(maps_mounts=False, waits_for_reader=True),
    "runsc": Runtime(
        runs_hooks=(20260520,), shows_devices=False, waits_for_output=True, own_root=True
    ),
}
"""By the first word of their answer to --version."""
_UNKNOWN = Runtime()


def of(version: Version) -> Runtime:
    """Return the row of a runtime; one that is not known is taken to do all right."""
    return RUNTIMES.get(version.kind, _UNKNOWN)


def choose(
    setting: str, version: Version, *, root_readonly: bool, closed: str = "", devices: str = ""
) -> tuple[str, str]:
    """Return the executor, RUNTIME or SHIM, and the reason as half a sentence.

    setting: `hooks.executor`. root_readonly: root.readonly of config.json. closed: a folder on the
    way to the bundle that the container's root may not enter, or "". devices: the hook that looks
    for device nodes, or "".
    """
    if setting != "auto":
        return setting, f"hooks.executor is '{setting}'"
    name, runtime = f"{version.kind} {version.text}", of(version)
    if version.number < runtime.runs_hooks:
        return SHIM, f"{name} does not run createContainer hooks"
    if version.number < runtime.readonly and root_readonly:
        return SHIM, f"{name} makes the root read-only before it runs them"
    if devices and not runtime.shows_devices:
        return SHIM, f"{name} shows hooks no device node, and {devices} looks for them"
    if runtime.enters_bundle and closed:
        return SHIM, f"{name} fails where the container's root may not enter {closed}"
    if version.kind:
        return RUNTIME, f"{name} runs createContainer hooks"
    return RUNTIME, "the runtime is not one pyshim knows better"
