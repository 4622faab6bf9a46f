"""Changes to pyshim's own configuration: values as people type them, the file as they wrote it.

What may be set is ocishim.settings.configfile's to say: the text is parsed by it first.
"""

from __future__ import annotations

import re
from typing import Any

from ocishim.admin.config.settings import read_early, toml
from ocishim.admin.editing import files
from ocishim.admin.editing.tomlfile import TomlFile, find, newline
from ocishim.errors import ConfigError
from ocishim.settings import configfile
from ocishim.settings.defaults import DEFAULTS

_REQUESTS = '[{name = "NVIDIA_VISIBLE_DEVICES", kind = "nvidia.com/gpu"}]'


def changed(path: str, text: str, sets: dict[str, Any], unsets: tuple[str, ...] = ()) -> str:
    """Return the configuration `text` with settings set and others as if nobody wrote them.

    sets: values by dotted key. Raises ConfigError when the result would not do; path is for
    messages.
    """
    tree = configfile.document(text.encode(), path)
    ends, text = newline(text), text.replace("\r\n", "\n")
    for key, value in sets.items():
        configfile.checked(key, value, path)
        if find(tree, *key.split(".")) is None:
            text = _with_line(text, key)
    file = TomlFile(path, text)
    for key, value in sets.items():
        file.set(tuple(key.split(".")), value)
    for key in unsets:
        file.unset(tuple(key.split(".")))
    after = file.text().replace("\n", ends)
    configfile.parse(after.encode(), path)
    return after


def _with_line(text: str, key: str) -> str:
    """Return `text` with the setting's default where it belongs, if that can be told by lines.

    `runtimes` is the first line, where it is read early; another setting stands behind the comment
    that shows it, in its table.
    """
    line = f"{key.rpartition('.')[2]} = {toml(DEFAULTS[key])}\n"
    table, _, name = key.rpartition(".")
    if not table:
        first = line + text
        return first if read_early(first) else text
    pattern = (
        rf"^\[{re.escape(table)}\][^\n]*\n(?:(?!\[)[^\n]*\n)*?#\s*{re.escape(name)} = [^\n]*\n"
    )
    shown = re.search(pattern, text, re.MULTILINE)
    if shown is None:
        return text
    longer = text[: shown.end()] + line + text[shown.end() :]
    try:
        same = find(configfile.loads(longer), *key.split(".")) == DEFAULTS[key]
    except ValueError:
        return text
    return longer if same else text


def assignment(word: str) -> tuple[str, Any]:
    """Return key and value of `KEY=VALUE`. Raises ConfigError.

    By the setting's type: a string as it is or in TOML's quotes, true or false, a number; a list
    as TOML writes it or with commas between its strings; tables as TOML writes them.
    """
    key, equals, text = (part.strip() for part in word.partition("="))
    if not files.is_text(word):
        raise ConfigError(f"'{word}' is not UTF-8, and no configuration can have it")
    if not equals:
        raise ConfigError(f"'{word}' sets nothing", hint="write KEY=VALUE")
    known(key)
    return key, _value(key, text)


def known(key: str) -> None:
    """Raise ConfigError, with the nearest name, when there is no setting `key`."""
    if key not in DEFAULTS:
        below = [name for name in DEFAULTS if name.startswith(f"{key}.")]
        hint = f"'{key}' is a table: set {', '.join(below)}" if below else configfile.nearest(key)
        raise ConfigError(f"unknown setting '{key}'", hint=hint)


def _value(key: str, text: str) -> Any:
    kind = type(DEFAULTS[key])
    value = _as_toml(text)
    if type(value) is kind:
        return value
    if kind is str and not text.startswith(('"', "'")):
        return text
    if key == "requests.env":
        raise ConfigError(f"'{text}' is no list of tables for '{key}'", hint=f"{key}='{_REQUESTS}'")
    if kind is list and not text.startswith("["):
        listed = _as_toml(f"[{text}]")
        if listed and all(isinstance(one, str) for one in listed):
            return listed  # each in quotes
        return [part for part in (part.strip() for part in text.split(",")) if part]
    raise ConfigError(
        f"'{text}' is no value of '{key}'", hint=f"its default is {toml(DEFAULTS[key])}"
    )


def _as_toml(text: str) -> Any:
    try:
        return configfile.loads(f"value = {text}\n").get("value")
    except (ValueError, RecursionError):
        return None
