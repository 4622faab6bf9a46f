"""The changes pyshim can make to the hooks of an OCI spec, one class each.

Which of them a container needs is decided in hookplan/; oci/spec.py applies them. A hook in a list
is never edited: a changed copy takes its place. Pure.
"""
# ruff: noqa: D102 - apply, present, sentences and describe are documented once, in Change

from __future__ import annotations

from ocishim.errors import quoted
from ocishim.oci.changes import Change, copied
from ocishim.oci.hooktable import CHAIN, GUARD
from ocishim.oci.members import find_dict, find_list, make_dict, make_list, must_be

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ocishim.oci.types import Hook

TAKEN = "pyshimCreateContainer"
"""The property of `hooks` that remembers, for another create, what pyshim took and ran itself."""
LISTS = (
    "prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop",
)  # fmt: skip
_LIST = "createContainer"
_IDENTITY = "--rootfs-id"


def lists(spec: dict[str, Any]) -> dict[str, list[Hook]]:
    """Return the non-empty hook lists of `spec` by name.

    Raises DocumentError for a hook that is no object: a runtime would run those before it first.
    """
    hooks = spec.get("hooks")
    if not isinstance(hooks, dict):
        return {}
    found = {}
    for name in LISTS:
        entries = hooks.get(name)
        if not isinstance(entries, list) or not entries:
            continue
        for index, entry in enumerate(entries):
            must_be(dict, entry, f"hooks.{name}[{index}]")
        found[name] = entries
    return found


class AddHook(Change):
    """Append a hook to the list `name` (prestart, createRuntime, createContainer...)."""

    __slots__ = ("hook", "name")

    def __init__(self, name: str, hook: Hook) -> None:
        self.name = name
        self.hook = hook

    def apply(self, spec: dict[str, Any]) -> None:
        make_list(spec, "hooks", self.name).append(copied(self.hook))

    def present(self, spec: dict[str, Any]) -> bool:
        return any(self._same(hook) for hook in find_list(spec, "hooks", self.name))

    def describe(self) -> str:
        words = map(quoted, (self.hook.get("args") or [])[1:])
        return " ".join([f"{self.name} hook {self.hook['path']}", *words])

    def _same(self, other: object) -> bool:
        if not isinstance(other, dict):
            return False
        keys = ["path", "args", "timeout"]
        # pyshim gives every hook an environment (CVE-2025-23266): one that asked for none
        # is the same hook afterwards.
        if self.hook.get("env"):
            keys.append("env")
        return all((other.get(key) or None) == (self.hook.get(key) or None) for key in keys)


class CompleteHook(Change):
    """Give the hook at `index` of the list `name` the members it lacks: `env`, `timeout`."""

    __slots__ = ("index", "members", "name", "path")

    def __init__(self, name: str, index: int, path: object, members: Hook) -> None:
        self.name = name
        self.index = index
        self.path = path
        self.members = members

    def apply(self, spec: dict[str, Any]) -> None:
        hooks = find_list(spec, "hooks", self.name)
        hooks[self.index] = {**hooks[self.index], **self.members}

    def present(self, spec: dict[str, Any]) -> bool:
        hook = find_list(spec, "hooks", self.name)[self.index]
        return all(hook.get(key) == value for key, value in self.members.items())

    def sentences(self) -> list[str]:
        hook = f"{self.name} hook {self.path} gets"
        told = [f"{hook} a minimal environment"] if "env" in self.members else []
        if "timeout" in self.members:
            told.append(f"{hook} a timeout of {self.members['timeout']} s")
        return told


class GuardHook(CompleteHook):
    """Have the hook at `index` of the list `name` run by `pyshim-hook guard`, its new members."""

    __slots__ = ()

    def sentences(self) -> list[str]:
        seconds = unguarded(self.members)["timeout"]
        hook = f"{self.name} hook {self.path}"
        return [f"{hook} is run by pyshim-hook, which ends it after {seconds} s"]


def unguarded(hook: Hook) -> Hook:
    """Return the hook that `pyshim-hook guard` is to run; any other hook as it is."""
    args = hook.get("args")
    if not isinstance(args, list) or args[:2] != ["pyshim-hook", GUARD] or "--" not in args:
        return hook
    end = args.index("--")
    seconds = str(dict(zip(args[2:end:2], args[3:end:2], strict=False)).get("--timeout"))
    if len(args) < end + 2 or not seconds.isdecimal():
        return hook
    before: Hook = {**hook, "path": args[end + 1], "args": args[end + 2 :], "timeout": int(seconds)}
    if not before["args"]:
        del before["args"]
    return before


class RestoreHooks(Change):
    """Give the hooks back that an earlier create took or guarded: this one decides afresh."""

    __slots__ = ()

    def apply(self, spec: dict[str, Any]) -> None:
        hooks = find_dict(spec, "hooks")
        if isinstance(hooks.get(TAKEN), list):
            taken = hooks.pop(TAKEN)
            hooks[_LIST] = taken + [hook for hook in hooks.get(_LIST) or () if hook not in taken]
        for name, found in lists(spec).items():
            hooks[name] = [unguarded(hook) for hook in found]

    def present(self, spec: dict[str, Any]) -> bool:
        hooks = spec.get("hooks")
        return not (isinstance(hooks, dict) and isinstance(hooks.get(TAKEN), list)) and all(
            unguarded(hook) is hook for found in lists(spec).values() for hook in found
        )

    def describe(self) -> str:
        return "hooks that an earlier create took or guarded are planned anew"


class SetHooks(Change):
    """Make `hooks` the createContainer hooks; `told` is what that means for each of them."""

    __slots__ = ("hooks", "told")

    def __init__(self, hooks: list[Hook], told: list[str]) -> None:
        self.hooks = hooks
        self.told = told

    def apply(self, spec: dict[str, Any]) -> None:
        make_dict(spec, "hooks")[_LIST] = list(self.hooks)

    def present(self, spec: dict[str, Any]) -> bool:
        return find_list(spec, "hooks", _LIST) == self.hooks

    def sentences(self) -> list[str]:
        return self.told


class TakeHooks(Change):
    """Take the createContainer hooks from the low-level runtime, all but those that `stay`."""

    __slots__ = ("skipped", "stay")

    def __init__(self, stay: list[Hook], skipped: list[str]) -> None:
        """`skipped`: names of those that nobody runs, one entry a hook."""
        self.stay = stay
        self.skipped = skipped

    def apply(self, spec: dict[str, Any]) -> None:
        hooks = make_dict(spec, "hooks")
        hooks[TAKEN] = hooks.pop(_LIST)
        if self.stay:
            hooks[_LIST] = list(self.stay)

    def present(self, spec: dict[str, Any]) -> bool:
        hooks = find_dict(spec, "hooks")
        return TAKEN in hooks and (hooks.get(_LIST) or []) == self.stay

    def sentences(self) -> list[str]:
        return [f"hook {names} is skipped: it only mounts, gVisor has it" for names in self.skipped]


class PutFirstHook(Change):
    """Put a hook of pyshim's in front of the list `name`, in the place of an earlier such one.

    Two are such when their first two words are the same: `pyshim-hook NAME`.
    """

    __slots__ = ("hook", "name", "told")

    def __init__(self, name: str, hook: Hook, told: list[str]) -> None:
        self.name = name
        self.hook = hook
        self.told = told

    def apply(self, spec: dict[str, Any]) -> None:
        hooks = make_dict(spec, "hooks")
        others = [other for other in hooks.get(self.name) or [] if not self._is_such(other)]
        hooks[self.name] = [self.hook, *others]

    def present(self, spec: dict[str, Any]) -> bool:
        hooks = find_list(spec, "hooks", self.name)
        return hooks[:1] == [self.hook] and not any(map(self._is_such, hooks[1:]))

    def sentences(self) -> list[str]:
        return self.told

    def _is_such(self, other: object) -> bool:
        args = other.get("args") if isinstance(other, dict) else None
        return isinstance(args, list) and args[:2] == self.hook["args"][:2]


class SetRootfsIdentity(Change):
    """Tell the chains among the createContainer hooks that `rootfs` is another directory now."""

    __slots__ = ("identity", "rootfs")

    def __init__(self, rootfs: str, identity: tuple[int, int]) -> None:
        """`identity`: its st_dev and st_ino; a chain takes no other directory."""
        self.rootfs = rootfs
        self.identity = identity

    def apply(self, spec: dict[str, Any]) -> None:
        hooks = find_list(spec, "hooks", _LIST)
        hooks[:] = map(self.told_to, hooks)

    def present(self, spec: dict[str, Any]) -> bool:
        return all(self.told_to(hook) == hook for hook in find_list(spec, "hooks", _LIST))

    def describe(self) -> str:
        device, inode = self.identity
        return f"hooks work on the layer over {self.rootfs}: device {device}, inode {inode}"

    def told_to(self, hook: Hook) -> Hook:
        """Return the hook with the identity; itself when it is no chain."""
        args = hook.get("args") or []
        if args[1:2] != [CHAIN] or _IDENTITY not in args:
            return hook
        index = args.index(_IDENTITY) + 1
        told = "{}:{}".format(*self.identity)
        return {**hook, "args": [*args[:index], told, *args[index + 1 :]]}


class DropEmptyHooks(Change):
    """Take out the list of createContainer hooks, made for devices, that was left empty."""

    __slots__ = ("whole",)

    def __init__(self, *, whole: bool) -> None:
        """`whole`: an empty `hooks` goes too."""
        self.whole = whole

    def apply(self, spec: dict[str, Any]) -> None:
        hooks = find_dict(spec, "hooks")
        del hooks[_LIST]
        if self.whole and not hooks:
            del spec["hooks"]

    def present(self, spec: dict[str, Any]) -> bool:
        return find_dict(spec, "hooks").get(_LIST) != []

    def describe(self) -> str:
        return f"no {_LIST} hook is left, and config.json gets no empty list of them"


class TakeNetDevices(Change):
    """Take linux.netDevices from the low-level runtime: a hook of pyshim moves the interfaces."""

    __slots__ = ()

    def apply(self, spec: dict[str, Any]) -> None:
        make_dict(spec, "linux").pop("netDevices", None)

    def present(self, spec: dict[str, Any]) -> bool:
        return "netDevices" not in find_dict(spec, "linux")

    def sentences(self) -> list[str]:
        return []  # the hook's says it
