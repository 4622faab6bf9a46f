"""Parse and check config.toml; what comes out has every setting of defaults.DEFAULTS.

Cold: it runs when the file changed, and in pyshimctl. Unknown keys and wrong types are errors
that name the file, the line and the key.
"""

from __future__ import annotations

import errno
import os
import re
import stat
import sys
from collections.abc import Iterator
from itertools import takewhile
from typing import Any, NamedTuple

from ocishim import jsonio
from ocishim.errors import ConfigError, lowered, quoted, reason
from ocishim.settings.defaults import DEFAULTS

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

loads = tomllib.loads  # whoever reads TOML does it by this
CHOICES = {
    "cdi.stale": ("auto", "error", "warn", "ignore"),
    "hooks.executor": ("auto", "runtime", "shim"),
    "hooks.readonly_rootfs": ("skip", "when-writable", "overlay"),
    "log.level": ("error", "warning", "info", "debug"),
    "log.format": ("text", "json"),
}
_REQUEST_KEYS: dict[str, type] = {"name": str, "kind": str, "unprivileged": bool}
_KIND = re.compile(r"[a-z]([\w.-]*[a-z0-9])?/[a-z]([\w.-]*[a-z0-9])?", re.ASCII | re.IGNORECASE)
TYPE_NAMES = {**jsonio.TYPE_NAMES, dict: "table"}
# Engines start pyshim in working directories of their own, so a relative path means nothing.
_PATHS = {
    "runtimes": "a runtime is a name to look up in PATH, or an absolute path",
    "cdi.spec_dirs": "a spec dir is an absolute path",
}
_FORM = "'pyshimctl config default' has every setting as it is written"
_MAX_BYTES = 1 << 20
_MAX_LINES = 1000  # in which a fault is looked for, a parse a line


class NotTomlError(ConfigError):
    """A text that is no TOML; where it begins, line_of_fault() finds out."""


class _Name(NamedTuple):
    """What a line is about: a dotted key without quotes, and whether the line opens a table."""

    key: str
    is_table: bool


def read(path: str) -> dict[str, Any]:
    """Return the settings in `path` over the defaults. Raises ConfigError."""
    try:
        data = content(path)
    except OSError as err:
        fault = f"cannot be read: {reason(err)}"
        raise ConfigError(fault, source=path, errno=err.errno) from None
    return parse(data, path)


def parse(data: bytes, path: str) -> dict[str, Any]:
    """Return the settings in the TOML text `data`; `path` is for messages. Raises ConfigError."""
    if len(data) > _MAX_BYTES:
        raise ConfigError(f"{path}: larger than {_MAX_BYTES} bytes", hint="is this the right file")
    return _Reader(path, data.decode(errors="replace")).settings(document(data, path))


def checked(key: str, value: Any, path: str) -> Any:
    """Return one setting's value as `parse` would. Raises ConfigError."""
    return _Reader(path, "").checked(key, value)


def document(data: bytes, path: str, hint: str = _FORM) -> dict[str, Any]:
    """Return what the TOML text `data` says, whatever the keys. Raises ConfigError.

    hint: where it is told what such a file looks like.
    """
    try:
        text = data.decode("utf-8")
        found: dict[str, Any] = loads(text)
    except UnicodeDecodeError as err:
        line = data.count(b"\n", 0, err.start) + 1
        fault = "not valid TOML: not UTF-8"
        raise ConfigError(fault, source=path, line=line, hint=hint) from None
    except RecursionError:
        fault = "not valid TOML: nested too deeply"
        raise ConfigError(fault, source=path, hint=hint) from None
    except ValueError as err:
        if text.startswith("\ufeff"):
            raise byte_order_mark(path) from None
        raise _twice(path, text.splitlines()) or NotTomlError(
            f"not valid TOML: {lowered(str(err))}", source=path, hint=hint
        ) from None
    return found


def byte_order_mark(path: str) -> ConfigError:
    """Return the error for a TOML file that begins with one, which editors do not show."""
    hint = f"sed -i '1s/^\\xef\\xbb\\xbf//' {quoted(path)}"
    return ConfigError(f"{path}: begins with a byte order mark", hint=hint)


def line_of_fault(text: str) -> int:
    """Return where what is no TOML begins: behind the longest part that is; 0 in a great text."""
    lines = text.splitlines()
    if len(lines) > _MAX_LINES:
        return 0
    return next(number for number in range(len(lines), 0, -1) if _valid(lines[: number - 1]))


def _twice(path: str, lines: list[str]) -> ConfigError | None:
    """The error for a table or key that is there twice, None when that is not what is wrong.

    A snippet for an empty file, appended to one that has its table already.
    """
    before: list[tuple[int, _Name]] = []
    for number, name in named(lines):
        same = [line for line, other in before if other.key == name.key][-1:]
        older = [*same, *(line for line, other in before if _overlap(other, name)), 0][0]
        before.append((number, name))
        # Lines of an array or a text of several lines may look like settings: the proof is that
        # all is well up to the second one, and that it is its key which is not, whatever the value.
        key = lines[number - 1] if name.is_table else re.sub("=.*", "= 0", lines[number - 1])
        above = lines[: number - 1]
        if not older or not _valid(above) or _valid([*above, key]):
            continue
        what = f"table [{name.key}]" if name.is_table else f"'{name.key}'"
        hint = "keep one of the two"
        if _can_be_one(lines, older, number):
            hint = f"move what is below line {number} to below line {older} and remove [{name.key}]"
        message = f"{what} is there twice, in lines {older} and {number}"
        return ConfigError(message, source=path, line=number, hint=hint)
    return None


def _can_be_one(lines: list[str], older: int, number: int) -> bool:
    """Whether what is below the header in line `number` can stand below the one in line `older`."""
    plain = [re.match(r"\s*\[(?!\[)", lines[line - 1]) for line in (older, number)]
    keys = [
        {name.key for _, name in takewhile(lambda one: not one[1].is_table, named(lines, line))}
        for line in (older, number)
    ]
    return all(plain) and not keys[0] & keys[1]


def _overlap(one: _Name, other: _Name) -> bool:
    """Whether both lines may be about the same setting or table."""
    short, long = sorted((one.key, other.key), key=len)
    return short == long or long.startswith(f"{short}.")


def _valid(lines: list[str]) -> bool:
    try:
        loads("\n".join(lines))
    except (ValueError, RecursionError):
        return False
    return True


def named(lines: list[str], above: int = 0) -> Iterator[tuple[int, _Name]]:
    """Yield the number of each line that opens a table or sets a key, and its name.

    above: so many lines are left out, with the table that the last of them opens.
    """
    table = ""
    for number, text in enumerate(lines[above:], above + 1):
        header = re.match(r"\s*(\[+)\s*([^\]#]*?)\s*\]", text)
        setting = re.match(r"\s*([^=#]*?)\s*=", text)
        if header:
            table = _bare(header[2])
            yield number, _Name(table, is_table=True)
        elif setting:
            yield number, _Name(f"{table}.{_bare(setting[1])}".lstrip("."), is_table=False)


def _bare(name: str) -> str:
    return ".".join(part.strip() for part in name.replace('"', "").replace("'", "").split("."))


def content(path: str) -> bytes:
    """Read a regular file, at most one byte too much; a FIFO would block a kill for ever."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    with open(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "not a regular file")
        return file.read(_MAX_BYTES + 1)


class _Reader:
    """One file's settings, checked; knows the text to find line numbers for messages."""

    def __init__(self, path: str, text: str) -> None:
        self.path = path
        self.lines = text.splitlines()

    def settings(self, document: dict[str, Any]) -> dict[str, Any]:
        values = dict(DEFAULTS)
        for key, value in self._flatten(document):
            if key not in DEFAULTS:
                raise self._error(key, f"unknown setting '{key}'", nearest(key))
            values[key] = self.checked(key, value)
        return values

    def _flatten(self, document: dict[str, Any]) -> list[tuple[str, Any]]:
        tables = {key.partition(".")[0] for key in DEFAULTS if "." in key}
        settings: list[tuple[str, Any]] = []
        for key, value in document.items():
            if key in tables and isinstance(value, dict):
                settings += [(f"{key}.{name}", item) for name, item in value.items()]
            elif key in tables:
                raise self._error(key, f"expected table, found {type_name(value)} in '{key}'")
            else:
                settings.append((key, value))
        return settings

    def checked(self, key: str, value: Any) -> Any:
        default = DEFAULTS[key]
        if type(value) is not type(default):
            expected = TYPE_NAMES[type(default)]
            raise self._error(key, f"expected {expected}, found {type_name(value)} in '{key}'")
        if key in CHOICES and value not in CHOICES[key]:
            choices = ", ".join(f"'{choice}'" for choice in CHOICES[key])
            raise self._error(key, f"'{value}' is not a value of '{key}'", f"choose {choices}")
        if key == "hooks.timeout" and not 1 <= value <= 3600:
            raise self._error(key, f"{value} is not a timeout for '{key}'", "1 to 3600 seconds")
        if key == "requests.env":
            return [self._request(index, item) for index, item in enumerate(value)]
        if isinstance(value, list):
            self._check_strings(key, value)
        if key in ("log.file", "log.metrics") and (value[:1] not in ("", "/") or "\0" in value):
            raise self._error(key, f"'{value}' is not an absolute path in '{key}'")
        return value

    def _check_strings(self, key: str, value: list[Any]) -> None:
        for index, item in enumerate(value):
            if not isinstance(item, str):
                found = type_name(item)
                raise self._error(key, f"expected string, found {found} in '{key}[{index}]'")
            if not item or "\0" in item:
                raise self._error(key, f"empty string or NUL in '{key}[{index}]'")
            relative = not item.startswith("/") and ("/" in item or key != "runtimes")
            if relative and key in _PATHS:
                raise self._error(
                    key, f"'{item}' is not an absolute path in '{key}[{index}]'", _PATHS[key]
                )
        if not value and key == "runtimes":
            raise self._error(key, "'runtimes' names no runtime")

    def _request(self, index: int, item: Any) -> dict[str, Any]:
        field = f"requests.env[{index}]"
        if not isinstance(item, dict):
            found = type_name(item)
            raise self._error("requests.env", f"expected table, found {found} in '{field}'")
        for key, value in item.items():
            expected = _REQUEST_KEYS.get(key)
            line_of = f"requests.env.{key}"
            if expected is None:
                raise self._error(line_of, f"unknown setting '{field}.{key}'")
            if type(value) is not expected:
                name, found = TYPE_NAMES[expected], type_name(value)
                raise self._error(line_of, f"expected {name}, found {found} in '{field}.{key}'")
        for key in ("name", "kind"):
            if not item.get(key):
                raise self._error("requests.env", f"'{field}.{key}' is missing")
        if not _KIND.fullmatch(item["kind"]):
            fault = f"'{item['kind']}' is not a kind in '{field}.kind'"
            raise self._error("requests.env.kind", fault, "a kind is vendor/class: nvidia.com/gpu")
        if "=" in item["name"] or "\0" in item["name"]:
            raise self._error("requests.env.name", f"no variable's name in '{field}.name'")
        return {"unprivileged": False, **item}

    def _error(self, key: str, message: str, hint: str = "") -> ConfigError:
        return ConfigError(message, source=self.path, line=self._line(key), hint=hint)

    def _line(self, key: str) -> int:
        """Return the number of the line that sets `key` or opens its table, 0 when not found."""
        below = f"{key}."
        lines = (line for line, name in named(self.lines) if f"{name.key}.".startswith(below))
        return next(lines, 0)


def nearest(key: str) -> str:
    """Return what to do about a setting that is none."""
    from difflib import get_close_matches  # noqa: PLC0415 - failure only

    near = get_close_matches(key, DEFAULTS, 1)
    return f"did you mean '{near[0]}'?" if near else "see 'pyshimctl config default'"


def type_name(value: object) -> str:
    """Return what TOML calls the type of a value."""
    return TYPE_NAMES.get(type(value), type(value).__name__)
