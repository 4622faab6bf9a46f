"""create-symlinks: links in the rootfs, as `chroot ROOTFS ln -f -s TARGET LINK` would make them.

Flags: --link TARGET::LINK, repeatable. TARGET is written as it is, dangling or not; LINK is below
the rootfs whatever it says. Parents are made (0755), a file or other link at LINK is replaced, a
directory there is an error.
"""

from __future__ import annotations

from ocishim.errors import ForeignMountError, HookError, UsageError
from ocishim.hooks import flags
from ocishim.hooks.outcome import Outcome

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ocishim.rootfs.rootfs import Rootfs

NAME = "create-symlinks"


class Link:
    """One link to make: `target` is its text, `path` its place in the rootfs."""

    __slots__ = ("path", "target")

    def __init__(self, target: str, path: str) -> None:
        self.target = target
        self.path = path


def parse(args: list[str]) -> list[Link]:
    """Return the links of `--link` flags in order, each once; UsageError names the bad one."""
    texts = flags.of(NAME, args)["link"]
    return [_parse_link(text) for text in dict.fromkeys(texts)]


def _parse_link(text: str) -> Link:
    target, separator, path = text.partition("::")
    if not separator or "::" in path:
        raise UsageError(f"--link {text!r} is not TARGET::LINK")
    if not target:
        raise UsageError(f"--link {text!r} has no target")
    if path.rstrip("/").rpartition("/")[2] in ("", ".", ".."):
        raise UsageError(f"--link {text!r} names no link in the rootfs")
    if "\0" in text:
        raise UsageError(f"--link {text!r} holds a NUL byte")
    return Link(target, path)


def apply(rootfs: Rootfs, request: list[Link]) -> list[Outcome]:
    """Make the links that are not there yet.

    Where the place is on somebody else's mount, the other links are made and its outcome is
    a warning; HookError and UnsafePathError otherwise. Links made before a failure stay.
    """
    outcomes = []
    for link in request:
        try:
            if rootfs.put_symlink(link.target, link.path):
                outcomes.append(Outcome(f"{link.path} -> {link.target}: linked"))
        except ForeignMountError as error:
            text = f"{link.path} -> {link.target}: {error.message}: link left out"
            outcomes.append(Outcome(text, warning=True))
        except OSError as error:
            text = f"{link.path} -> {link.target}: {error.strerror}"
            if not rootfs.is_shut_out(link.path, error):
                raise HookError(text) from error
            outcomes.append(Outcome(f"{text}: link left out", warning=True))
    return outcomes
