"""Parse and check config.toml; what comes out has every setting of config.DEFAULTS.

Cold: it runs when the file changed, and in pyshimctl. Unknown keys and wrong types are errors
that name the file, the line and the key.
"""

from __future__ import annotations

import re
from typing import Any

from ocishim.config import DEFAULTS
from ocishim.errors import ConfigError

CHOICES = {
    "cdi.stale": ("error", "warn", "ignore"),
    "hooks.executor": ("auto", "runtime", "shim"),
    "hooks.readonly_rootfs": ("skip", "when-writable", "overlay"),
    "log.level": ("error", "warning", "info", "debug"),
}
_REQUEST_KEYS: dict[str, type] = {"name": str, "kind": str, "unprivileged": bool}
_TYPE_NAMES = {str: "string", bool: "boolean", int: "integer", list: "array", dict: "table"}
_MAX_BYTES = 1 << 20


def read(path: str) -> dict[str, Any]:
    """Return the settings in `path` over the defaults. Raises ConfigError."""
    try:
        with open(path, "rb") as file:
            data = file.read(_MAX_BYTES + 1)
    except OSError as err:
        raise ConfigError(f"{path}: cannot be read: {err.strerror}") from None
    if len(data) > _MAX_BYTES:
        raise ConfigError(f"{path}: larger than {_MAX_BYTES} bytes")
    return parse(data, path)


def parse(data: bytes, path: str) -> dict[str, Any]:
    """Return the settings in the TOML text `data`; `path` is for messages. Raises ConfigError."""
    try:
        import tomllib  # noqa: PLC0415 - from Python 3.11 on
    except ImportError:
        import tomli as tomllib  # type: ignore[no-redef]  # noqa: PLC0415

    try:
        text = data.decode("utf-8")
        document = tomllib.loads(text)
    except (ValueError, RecursionError) as err:
        raise ConfigError(f"{path}: not valid TOML: {err}") from None
    return _Reader(path, text).settings(document)


def runtimes_of_broken(path: str) -> list[str]:
    """Return `runtimes` from a file that need not be valid, else the default.

    A command that passes through needs this one setting and no other: a broken configuration
    never blocks a kill or a delete.
    """
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            for line in file:
                if line.startswith("["):
                    break
                if re.match(r"runtimes\s*=", line):
                    names = re.findall(r"\"([^\"]+)\"|'([^']+)'", line)
                    return [double or single for double, single in names] or DEFAULTS["runtimes"]
    except OSError:
        pass
    runtimes: list[str] = DEFAULTS["runtimes"]
    return runtimes


class _Reader:
    """One file's settings, checked; knows the text to find line numbers for messages."""

    def __init__(self, path: str, text: str) -> None:
        self.path = path
        self.lines = text.splitlines()

    def settings(self, document: dict[str, Any]) -> dict[str, Any]:
        values = dict(DEFAULTS)
        for key, value in self._flatten(document):
            if key not in DEFAULTS:
                raise self._error(key, f"unknown setting '{key}'", self._nearest(key))
            values[key] = self._checked(key, value)
        return values

    def _flatten(self, document: dict[str, Any]) -> list[tuple[str, Any]]:
        tables = {key.partition(".")[0] for key in DEFAULTS if "." in key}
        settings: list[tuple[str, Any]] = []
        for key, value in document.items():
            if key in tables and isinstance(value, dict):
                settings += [(f"{key}.{name}", item) for name, item in value.items()]
            elif key in tables:
                raise self._error(key, f"expected table, found {_type_name(value)} in '{key}'")
            else:
                settings.append((key, value))
        return settings

    def _checked(self, key: str, value: Any) -> Any:
        default = DEFAULTS[key]
        if type(value) is not type(default):
            expected = _TYPE_NAMES[type(default)]
            raise self._error(key, f"expected {expected}, found {_type_name(value)} in '{key}'")
        if key in CHOICES and value not in CHOICES[key]:
            choices = ", ".join(f"'{choice}'" for choice in CHOICES[key])
            raise self._error(key, f"'{value}' is not a value of '{key}'", f"choose {choices}")
        if key == "hooks.timeout" and not 1 <= value <= 3600:
            raise self._error(key, f"{value} is not a timeout for '{key}'", "1 to 3600 seconds")
        if key == "requests.env":
            return [self._request(index, item) for index, item in enumerate(value)]
        if isinstance(value, list):
            self._check_strings(key, value)
        return value

    def _check_strings(self, key: str, value: list[Any]) -> None:
        for index, item in enumerate(value):
            if not isinstance(item, str):
                found = _type_name(item)
                raise self._error(key, f"expected string, found {found} in '{key}[{index}]'")
            if not item:
                raise self._error(key, f"empty string in '{key}[{index}]'")
        if not value and key == "runtimes":
            raise self._error(key, "'runtimes' names no runtime")

    def _request(self, index: int, item: Any) -> dict[str, Any]:
        field = f"requests.env[{index}]"
        if not isinstance(item, dict):
            found = _type_name(item)
            raise self._error("requests.env", f"expected table, found {found} in '{field}'")
        for key, value in item.items():
            expected = _REQUEST_KEYS.get(key)
            if expected is None:
                raise self._error(key, f"unknown setting '{field}.{key}'")
            if type(value) is not expected:
                name, found = _TYPE_NAMES[expected], _type_name(value)
                raise self._error(key, f"expected {name}, found {found} in '{field}.{key}'")
        for key in ("name", "kind"):
            if not item.get(key):
                raise self._error("requests.env", f"'{field}.{key}' is missing")
        return {"unprivileged": False, **item}

    def _nearest(self, key: str) -> str:
        from difflib import get_close_matches  # noqa: PLC0415 - failure only

        near = get_close_matches(key, DEFAULTS, 1)
        return f"did you mean '{near[0]}'?" if near else ""

    def _error(self, key: str, message: str, hint: str = "") -> ConfigError:
        pattern = re.compile(rf"\s*\[*\s*[\"']?{re.escape(key.rpartition('.')[2])}\b")
        line = next((n for n, text in enumerate(self.lines, 1) if pattern.match(text)), 0)
        where = f"{self.path}:{line}" if line else self.path
        return ConfigError(f"{where}: {message}", hint=hint)


def _type_name(value: Any) -> str:
    return _TYPE_NAMES.get(type(value), type(value).__name__)
