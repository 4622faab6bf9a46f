"""The few kinds of failure pyshim reports; the kernel speaks OSError.

Messages are lower case, without a full stop: what failed, on which value, where, why.
`hint` is the next step for the operator, printed after the message.
"""

from __future__ import annotations


class PyshimError(Exception):
    """A failure with a message for people; `main()` reports it and exits 1.

    Raised through its subclasses only. `hint` may be empty.
    """

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})" if self.hint else self.message


def reason(err: OSError) -> str:
    """Return why the kernel refused, in lower case and in words of our own.

    Podman sorts an error by its text: "permission denied", "operation not permitted" and "no such
    file or directory" would blame the container's command, and these are about pyshim's files.
    """
    ours = {1: "not allowed", 2: "does not exist", 13: "access denied"}  # EPERM, ENOENT, EACCES
    return ours.get(err.errno or 0) or (err.strerror or str(err)).lower()


class UsageError(PyshimError):
    """The command line cannot be understood."""


class ConfigError(PyshimError):
    """A setting is unknown, has the wrong type, or cannot be honoured."""


class DocumentError(PyshimError):
    """A file (config.json, a CDI spec, a state) is not what its format demands."""


class UnresolvedDeviceError(PyshimError):
    """A requested CDI device cannot be resolved or injected."""


class UnsafePathError(PyshimError):
    """A path from an image or spec leaves its root, or is not what it must be."""


class HookError(PyshimError):
    """A hook failed, timed out or cannot be run."""
