"""Random texts and command lines, read by Go as runc does and by pyshim.

    python -m tests.reading.run PROGRAM... [--number N] [--seed S] [--write]

PROGRAM: the driver of this folder, built (make test-reading). --write renews corpus.json, whose
results tests/unit/test_reading_corpus.py compares without Go.
"""

from __future__ import annotations

import argparse
import base64
import json
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

from ocishim import jsonio
from ocishim.create import argv
from ocishim.errors import DocumentError
from ocishim.oci import reading, structs

CORPUS = Path(__file__).with_name("corpus.json")
_KEPT = 400


def ask(program: str, way: str, lines: list[str]) -> list[Any]:
    """Return the driver's answers, one a line."""
    text = "".join(f"{line}\n" for line in lines)
    done = subprocess.run([program, way], input=text.encode(), stdout=subprocess.PIPE, check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


def without_zeros(value: Any) -> Any:
    """Return what is left where Go leaves out empty fields: encoding/json's omitempty, and more."""
    if isinstance(value, dict):
        left = {name: without_zeros(item) for name, item in value.items()}
        return {name: item for name, item in left.items() if item not in (None, {})} or None
    if isinstance(value, list):
        return [without_zeros(item) for item in value] or None
    return value or None


def known(value: Any, shape: str = "Spec") -> Any:
    """Return `value` without what the struct of this shape does not know, by exact names."""
    kind = shape.lstrip("?")
    if isinstance(value, list) and kind[:1] == "[":
        return [known(item, kind[1:]) for item in value]
    if isinstance(value, dict) and kind[:1] == "{":
        return {name: known(item, kind[1:]) for name, item in value.items()}
    if isinstance(value, dict) and kind in structs.STRUCTS:
        there = structs.STRUCTS[kind]
        return {name: known(item, there[name]) for name, item in value.items() if name in there}
    return value


def as_unicode(value: Any) -> Any:
    """Return `value` with U+FFFD for each byte that is not UTF-8, as Go has it."""
    if isinstance(value, dict):
        return {as_unicode(name): as_unicode(item) for name, item in value.items()}
    if isinstance(value, list):
        return [as_unicode(item) for item in value]
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return value


def first_of_each(members: list[tuple[str, Any]]) -> dict[str, Any]:
    """Make an object as crun reads it."""
    return dict(reversed(members))


def fault_in_reading(text: bytes, by_go: dict[str, Any]) -> str:
    """Return what is wrong with pyshim's reading of config.json, "" when it is Go's."""
    try:
        found = reading.read(text, "text")
    except DocumentError as err:
        return "" if "error" in by_go else f"refused: {err.message}"
    if "error" in by_go:
        return ""  # runc refuses it
    written = jsonio.dumps(found.spec) if found.odd else text
    for reader in (dict, first_of_each):
        read = as_unicode(jsonio.loads(written, "written", reader))
        if without_zeros(known(read)) != without_zeros(by_go):
            return f"another reader has {read}"
    return ""


def fault_in_line(words: list[str], by_go: dict[str, str]) -> str:
    """Return what is wrong with pyshim's reading of a command line, "" when it is Go's."""
    if by_go["error"] or by_go["id"].startswith("-"):
        return ""  # runc refuses it; or unknown flags became the container's name
    found = argv.parse(words)
    if found.fault:
        return ""  # pyshim refuses it: runc takes for a last flag's value what stands before
    if found.edits and not by_go["command"]:
        return ""  # help after all, by runc's reordering: a bundle made ready harms nobody
    if found.edits != (by_go["command"] in argv.EDITED):
        return f"pyshim {'edits' if found.edits else 'passes through'}"
    if not found.edits:
        return ""
    ours = (found.command, found.bundle, found.container_id, found.log, found.log_format or "text")
    theirs = tuple(by_go[name] for name in ("command", "bundle", "id", "log", "format"))
    return "" if ours == (*theirs[:4], theirs[4] or "text") else f"pyshim has {ours}"


class Texts:
    """Documents like a config.json that somebody has bent."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance

    def text(self) -> bytes:
        """Return one document."""
        return self._value("Spec", 0).encode("utf-8", "surrogateescape")

    def _value(self, shape: str, depth: int) -> str:
        luck = self.chance.random()
        if luck < 0.06 and depth:
            return "null"
        if luck < 0.065:
            return self.chance.choice(('{"a":1,"a":2}', "[1]", '"x"', "7"))
        kind = shape.lstrip("?")
        if kind[:1] == "[":
            size = self.chance.choice((0, 1, 1, 2, 2, 3)) if depth < 7 else 0
            return "[" + ",".join(self._value(kind[1:], depth + 1) for _ in range(size)) + "]"
        if kind[:1] == "{":
            size = self.chance.choice((0, 1, 2, 3))
            pairs = (
                (self._string().replace("\udcc3", ""), self._value(kind[1:], depth + 1))
                for _ in range(size)
            )
            return "{" + ",".join(f"{name}:{value}" for name, value in pairs) + "}"
        if kind:
            return self._struct(structs.STRUCTS[kind], depth)
        return ""

    def _struct(self, there: dict[str, str], depth: int) -> str:
        names = self.chance.choices(sorted(there), k=self.chance.choice((0, 1, 2, 3, 4)))
        if self.chance.random() < 0.4 and names:
            names.append(names[0])
        members = []
        for name in names:
            value = self._value(there[name], depth + 1) or self._scalar(name)
            members.append(f"{self._name(name)}:{value}")
        if self.chance.random() < 0.2:
            members.append(f"{self._string()}:{self._value('{', depth + 1)}")
        return "{" + ",".join(members) + "}"

    def _scalar(self, name: str) -> str:
        if name in _BOOLEANS:
            return self.chance.choice(("true", "false"))
        if name in _STRINGS:
            return self._string()
        return str(self.chance.choice((0, 1, 7, 4294967295)))

    def _name(self, name: str) -> str:
        """Return a field's name as JSON, sometimes in another spelling that Go takes for it."""
        if self.chance.random() < 0.6:
            return f'"{name}"'
        letters = []
        for letter in name:
            others = {"s": "\u017f", "k": "\u212a", "i": "\u0131", "S": "\u017f"}.get(
                letter, letter
            )
            letter = self.chance.choice((letter, letter, letter.swapcase(), others))  # noqa: PLW2901
            escaped = self.chance.random() < 0.1
            letters.append(f"\\u{ord(letter):04x}" if escaped else letter)
        return '"' + "".join(letters) + '"'

    def _string(self) -> str:
        parts = ("a", "b", "hooks", "é", "\\n", "\\\\", "\\ud83d", "\\ude00", "\\udcc3", "\\uDCA9",
                 "\udcc3", "\\u0041", "/", "")  # fmt: skip
        return '"' + "".join(self.chance.choices(parts, k=self.chance.choice((0, 1, 1, 3)))) + '"'


_BOOLEANS = {
    *("allow", "readonly", "terminal", "noNewPrivileges", "idle", "checkBeforeUpdate"),
    *("disableOOMKiller", "useHierarchy", "enableMonitoring"),
}
_STRINGS = {
    *("path", "type", "source", "destination", "access", "ociVersion", "hostname", "domainname"),
    *("name", "cwd", "username", "commandLine", "apparmorProfile", "selinuxLabel", "cgroupsPath"),
    *("rootfsPropagation", "mountLabel", "closID", "l3CacheSchema", "memBwSchema", "cpus", "mems"),
    *("pageSize", "defaultAction", "listenerPath", "listenerMetadata", "action", "op", "mode"),
    *("nodes", "class", "policy", "initial", "final", "domain"),
    *("args", "env", "options", "names", "maskedPaths", "readonlyPaths", "architectures"),
}


class Lines:
    """Command lines of engines, bent."""

    WORDS = ("id", "create", "run", "state", "/b", "", "-", "--", "a=b", "0", "3", "=", "-b", "--x")

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance

    def line(self) -> list[str]:
        """Return one command line."""
        some = self.chance.choices
        words = self._flags(("log", "log-format", "root", "rootless", "criu"),
                            ("debug", "systemd-cgroup", "help", "h", "version",
                                "v"),  (0, 0, 1, 2))  # fmt: skip
        words += self.chance.choice(([], [], [], ["--"]))
        words += some(("create", "create", "run", "restore", "state", "delete", "x", ""), k=1)
        words += self._flags(_VALUED, _SWITCHES, (0, 1, 1, 2))
        words += self.chance.choice((["id"], ["id"], ["id"], some(self.WORDS, k=1), []))
        words += self._flags(_VALUED, _SWITCHES, (0, 0, 0, 1))
        if self.chance.random() < 0.1:
            words.insert(self.chance.randrange(len(words) + 1), self.chance.choice(self.WORDS))
        return words

    def _flags(self, valued: tuple[str, ...], switches: tuple[str, ...], many: Any) -> list[str]:
        words: list[str] = []
        for _ in range(self.chance.choice(many)):
            dash = self.chance.choice(("-", "--"))
            if self.chance.random() < 0.6:
                name = self.chance.choice(valued)
                word = self.chance.choice((*self.WORDS, "3", "/b", "json", "--bundle", "--help"))
                word = "3" if name == "preserve-fds" else word
                one = self.chance.random() < 0.4
                words += [f"{dash}{name}={word}"] if one else [f"{dash}{name}", word]
            else:
                value = self.chance.choice(("", "", "=true", "=false", "=0", "=F", "=no", "="))
                words.append(f"{dash}{self.chance.choice(switches)}{value}")
        return words


_VALUED = ("bundle", "bundle", "b", "pid-file", "console-socket", "preserve-fds", "image-path")
_SWITCHES = ("no-pivot", "help", "h", "detach", "d", "no-new-keyring", "shell-job")


def check(program: str, texts: list[bytes], lines: list[list[str]]) -> tuple[list[Any], list[Any]]:
    """Compare all; print what differs and exit with status 1. Return Go's answers."""
    specs = ask(program, "spec", [base64.b64encode(text).decode() for text in texts])
    calls = ask(program, "line", [json.dumps(line) for line in lines])
    faults = [
        *((text, fault_in_reading(text, go), go) for text, go in zip(texts, specs, strict=True)),
        *((line, fault_in_line(line, go), go) for line, go in zip(lines, calls, strict=True)),
    ]
    wrong = [fault for fault in faults if fault[1]]
    for given, fault, by_go in wrong[:10]:
        print(f"{given!r}\n  runc: {json.dumps(by_go)}\n  {fault}")
    read = sum("error" not in go for go in specs)
    made = sum(not go["error"] for go in calls)
    print(f"{program}: {len(texts)} texts ({read} read), {len(lines)} lines ({made} read): "
          f"{len(wrong)} wrong")  # fmt: skip
    if wrong:
        sys.exit(1)
    return specs, calls


def main() -> None:
    """See the module."""
    options = argparse.ArgumentParser()
    options.add_argument("programs", nargs="+")
    options.add_argument("--number", type=int, default=100_000)
    options.add_argument("--seed", type=int, default=random.randrange(1 << 32))
    options.add_argument("--write", action="store_true")
    given = options.parse_args()
    print(f"seed {given.seed}")
    chance = random.Random(given.seed)
    texts = [Texts(chance).text() for _ in range(given.number)]
    lines = [Lines(chance).line() for _ in range(given.number)]
    for program in given.programs:
        assert ask(program, "fields", []) == [structs.STRUCTS], "ocishim/oci/structs.py"
        specs, calls = check(program, texts, lines)
    if given.write:
        kept = {
            "specs": [
                [base64.b64encode(text).decode(), go] for text, go in zip(texts, specs, strict=True)
            ][:_KEPT],
            "lines": [list(pair) for pair in zip(lines, calls, strict=True)][:_KEPT],
        }
        CORPUS.write_text(json.dumps(kept, indent=0) + "\n")


if __name__ == "__main__":
    main()
