"""The process and namespaces in which pyshim itself runs createContainer hooks.

For runtimes that do not run them, or too late to write. A child of this process gets mount and
PID namespaces of its own, so that its end, however it comes, leaves no mount and no process;
namespaces the container has (user; network, ipc and uts for hooks pyshim does not know) it gets or
joins as well, because hooks are written for the container's. What it mounts is containerroot.py's
part, running hooks hookrunner.py's.
"""

from __future__ import annotations

import os
import select
import time

from ocishim import jsonio, posixos
from ocishim.errors import HookError, PyshimError, reason
from ocishim.executor import containerroot, hookgroup, hookrunner, usermap
from ocishim.hookplan import knownhooks
from ocishim.linux import const, process, syscalls
from ocishim.oci.members import find_dict, find_list
from ocishim.rootfs import readonly

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ocishim.log import OwnLog
    from ocishim.oci.types import Hook

STAGE = "createContainer"
_SIGKILL = 9
_FOR_THE_ROOT = 5  # seconds; it takes milliseconds
_NEW = {"network": const.CLONE_NEWNET, "ipc": const.CLONE_NEWIPC, "uts": const.CLONE_NEWUTS}
_MAP_ME = b"\1"  # the child's only message before its error, if any


class Job:
    """Everything the child needs; `hooks` are run in order, `spec` is the edited config.json."""

    __slots__ = (
        "bundle", "container_id", "foreign", "hooks", "identity", "log", "rootless", "spec",
    )  # fmt: skip

    def __init__(
        self, bundle: str, spec: dict[str, Any], hooks: list[Hook],
        container_id: str, log: OwnLog, *, identity: tuple[int, int] | None = None,
    ) -> None:  # fmt: skip
        self.identity = identity  # of the rootfs, when the hooks were planned
        self.bundle = bundle
        self.spec = spec
        self.hooks = hooks
        # The known hooks touch files alone, and a network namespace costs 1 ms of their 5.
        self.foreign = any(not knownhooks.parse(hook) for hook in hooks)
        self.container_id = container_id
        self.log = log
        uid = os.geteuid()
        # Who an ordinary user is: a new user namespace makes one forget.
        self.rootless = (uid, os.getegid()) if uid else None

    def seconds(self) -> float:
        """How long the hooks may take together, and their root; 0: one of them may for ever."""
        timeouts = [knownhooks.timeout_of(hook, 0) for hook in self.hooks]
        return min(sum(timeouts) + _FOR_THE_ROOT, knownhooks.LONGEST) if all(timeouts) else 0

    def state(self) -> bytes:
        """The state JSON hooks read: no pid, since the container has no process yet."""
        document = {
            "ociVersion": self.spec.get("ociVersion"),
            "id": self.container_id,
            "status": "creating",
            "bundle": os.path.realpath(self.bundle),
        }
        annotations = find_dict(self.spec, "annotations")
        if annotations:
            document["annotations"] = annotations
        return jsonio.dumps(document)


def run(job: Job) -> None:
    """Run the job's hooks; HookError of the first that fails, nothing then left behind."""
    mapping = usermap.wanted(job.spec)
    flags = const.CLONE_NEWNS | const.CLONE_NEWPID
    flags |= _new_namespaces(job.spec) if job.foreign else 0
    if job.rootless:
        flags |= const.CLONE_NEWUSER  # the only way to a mount namespace
    group = hookgroup.Group(job.spec)
    action = posixos.keep_children()
    reader, writer = os.pipe()
    go_reader, go_writer = os.pipe()
    try:
        try:
            pid = process.clone3(flags)
        except OSError as err:
            raise HookError(
                f"pyshim cannot run the hooks itself: {reason(err)}",
                hint="it needs CAP_SYS_ADMIN, or user namespaces for everybody",
            ) from None
        if pid == 0:
            os.close(reader)
            os.close(go_writer)
            _child(job, mapping, writer, go_reader, group)
        os.close(writer)
        writer = -1
        _report(pid, _follow(pid, reader, go_writer, mapping, job.seconds()))
    finally:
        for fd in (reader, writer, go_reader, go_writer):
            if fd >= 0:
                os.close(fd)
        posixos.restore_children(action)
        group.remove()


def _new_namespaces(spec: dict[str, Any]) -> int:
    """The container's namespaces that exist for it alone, as CLONE_NEW flags."""
    flags = 0
    for space in find_list(spec, "linux", "namespaces"):
        if isinstance(space, dict) and not space.get("path"):
            flags |= _NEW.get(str(space.get("type")), 0)
    return flags


def _follow(
    pid: int, reader: int, go: int, mapping: usermap.Mapping | None, seconds: float
) -> bytes:
    """Serve the child until it ends; return the error it wrote.

    Whatever it does, it ends after `seconds` (0: when it likes): a mount that never answers, a
    SIGSTOP. With the first process of their namespace all its hooks are killed.
    """
    said = b""
    end = time.monotonic() + seconds
    poll = select.poll()
    poll.register(reader, select.POLLIN)
    while True:
        if not poll.poll(max(end - time.monotonic(), 0) * 1000 if seconds else None):
            os.kill(pid, _SIGKILL)
            return f"{STAGE} hooks: not done after {seconds:g} s, killed\0".encode()
        chunk = os.read(reader, 1 << 16)
        if not chunk:
            break
        said += chunk
        if said == _MAP_ME and mapping is not None:
            try:
                mapping.write(pid)
            except OSError as err:
                os.kill(pid, _SIGKILL)
                return f"user namespace of the hooks: {reason(err)}\0".encode()
            os.write(go, b"\1")
    return said.removeprefix(_MAP_ME)


def _report(pid: int, said: bytes) -> None:
    status = os.waitpid(pid, 0)[1]
    if said:
        message, _, hint = said.decode("utf-8", "surrogateescape").partition("\0")
        raise HookError(message, hint=hint)
    if status:
        how = f"was killed by signal {os.WTERMSIG(status)}" if os.WIFSIGNALED(status) else "failed"
        raise HookError(f"the process that runs {STAGE} hooks {how}")


def _child(
    job: Job, mapping: usermap.Mapping | None, writer: int, go: int, group: hookgroup.Group
) -> None:
    """Do the job and end; what goes wrong is told through `writer`. Never returns."""
    status = 1
    try:
        process.die_with_parent(writer)
        group.enter()
        process.keep_only(writer, go)
        process.forget_environment()
        os.umask(0o022)
        if job.rootless:
            usermap.own_root(*job.rootless)
        if job.foreign:
            _join(job.spec)
        syscalls.mount(None, "/", None, const.MS_SLAVE | const.MS_REC)
        _work(job, mapping, writer, go)
        status = 0
    except PyshimError as err:
        _tell(writer, err.message, err.hint)
    except OSError as err:
        _tell(writer, f"{STAGE} hooks: {err.strerror or err}", "")
    except BaseException as err:  # noqa: BLE001 - a copy of the parent must never return
        _tell(writer, f"{STAGE} hooks: internal error: {type(err).__name__}: {err}", "")
    finally:
        os._exit(status)


def _tell(writer: int, message: str, hint: str) -> None:
    message = message.replace("\0", "\\x00")  # which ends a message here
    os.write(writer, f"{message}\0{hint}".encode("utf-8", "surrogateescape"))


def _join(spec: dict[str, Any]) -> None:
    """Enter the namespaces the container shares with others: a pod's network, for one."""
    for space in find_list(spec, "linux", "namespaces"):
        kind = _NEW.get(str(space.get("type")), 0) if isinstance(space, dict) else 0
        if kind and space.get("path"):
            fd = os.open(str(space["path"]), os.O_RDONLY | os.O_CLOEXEC)
            try:
                syscalls.setns(fd, kind)
            finally:
                os.close(fd)


def _work(job: Job, mapping: usermap.Mapping | None, writer: int, go: int) -> None:
    path = readonly.rootfs_path(job.spec, job.bundle)
    owner = mapping.root_ids() if mapping is not None else (0, 0)
    builder = containerroot.Builder(
        path, job.bundle, owner, lambda text: job.log.write("debug", text), job.identity
    )
    with builder.build(job.spec) as root, hookrunner.Runner(STAGE, job.state()) as runner:
        os.fchdir(root.fd)
        if mapping is not None:
            mapping.enter()
            if mapping.needs_writing:
                os.write(writer, _MAP_ME)
                if not os.read(go, 1):
                    raise HookError("the user namespace of the hooks has no mapping")
            mapping.become_root()
        runner.run(job.hooks)
