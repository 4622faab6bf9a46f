"""What READMEs and docs/ name exists: files, headings, make targets, settings, commands, options.

Leaves whether their transcripts are true to tests/integration/test_docs.py.
"""

from __future__ import annotations

import ast
import functools
import re
import shlex
import sys
from pathlib import Path

import click
import pytest

from ocishim.admin.cli import main
from ocishim.settings import configfile
from ocishim.settings.defaults import DEFAULTS

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[1]
DOCUMENTS = sorted(
    str(path.relative_to(ROOT))
    for files in ("*.md", "docs/*.md", "*/README.md", "tests/data/*.md")
    for path in ROOT.glob(files)
)
_FENCE = re.compile(r"^ *```(\w*)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
_CODE = re.compile(r"`([^`\n]+(?:\n[^`\n]+)?)`")
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_PATH = re.compile(
    r"(?<![\w/.@-])((?:binary|docs|tests|ocishim|hooks|tools|deploy|bench|conformance|\.ci)/[\w./-]*[\w/])"
)
_SETTING = re.compile(r"(?<![.\w])((?:cdi|hooks|requests|log)\.[a-z_]+)\b(?![-A-Z(/.])")
_TEST = re.compile(r"`([\w/]+\.py)?(?:::(test_\w+))?`")
_MODULE = re.compile(r"(?<![\w./*-])((?:\w+/)*\w+\.py)\b")
_NOT_FILES = ("bench/out", "hooks/your_hook.py", "ocishim/admin/engines/your_engine.py")
"""What the project's own commands make, and examples."""


def text_of(document: str) -> str:
    """Return the document's text."""
    return (ROOT / document).read_text()


def blocks(document: str, kind: str) -> list[str]:
    """Return the fenced blocks of the language `kind`."""
    return [body for language, body in _FENCE.findall(text_of(document)) if language == kind]


def code(document: str) -> list[str]:
    """Return what is set as code: inline, and each line of a block that is a command line."""
    text = text_of(document)
    lines = [
        line.lstrip("#$ ")
        for language, body in _FENCE.findall(text)
        if language in {"console", "sh", ""}
        for line in body.splitlines()
    ]
    return [" ".join(inline.split()) for inline in _CODE.findall(_FENCE.sub("", text))] + lines


def anchors(text: str) -> set[str]:
    """Return the headings of `text` as GitHub names them in links."""
    headings = re.findall(r"^#+ (.*)$", _FENCE.sub("", text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def problems_of_command(line: str) -> list[str]:
    """Return what in a pyshimctl command line does not exist."""
    call = re.split(r" [|>]", line)[0]
    words = shlex.split(call, comments=True)[1:]
    command: click.Command = main
    while words and isinstance(command, click.Group) and not words[0].startswith("-"):
        found = command.get_command(click.Context(command), words[0])
        if found is None:
            return [f"{line}: no command {words[0]!r}"]
        command, words = found, words[1:]
    known = {name for parameter in command.params for name in parameter.opts} | {"--help"}
    given = {word.partition("=")[0] for word in words if word.startswith("--")}
    if unknown := sorted(given - known):
        return [f"{line}: no option {option}" for option in unknown]
    try:
        _, extra, _ = command.make_parser(click.Context(command)).parse_args(list(words))
    except click.UsageError:  # a mention of an option, without its value
        return []
    return [f"{line}: no argument {word}" for word in extra if words[:1] != ["--help"]]


@functools.cache
def sources() -> dict[str, str]:
    """Return the text of each Python file of ours by its path, that of `ocishim/hooks/` too."""
    folders = ("binary", "bench", "conformance", "hooks", "ocishim", "tests", "tools")
    files = [path for folder in folders for path in (ROOT / folder).rglob("*.py")]
    found = {str(path.relative_to(ROOT)): path.read_text() for path in files}
    return found | {f"ocishim/{name}": found[name] for name in found if name.startswith("hooks/")}


def called(name: str) -> list[str]:
    """Return the texts of the files that `name`, a path or the end of one, may mean."""
    return [text for path, text in sources().items() if f"/{path}".endswith(f"/{name}")]


def missing_tests(text: str) -> list[str]:
    """Return the Python files and tests that `text` names and nobody has; `::test` is the last file's."""
    found, file = [], ""
    for named, test in _TEST.findall(text):
        file = named or file
        if named and not called(file) and not file.startswith(_NOT_FILES):
            found.append(f"file {file}")
        elif test and not any(f"def {test}(" in source for source in called(file)):
            found.append(f"test {file}::{test}")
    return found


def problems(document: str) -> list[str]:
    """Return everything `document` names that does not exist."""
    text = text_of(document)
    found: list[str] = []
    for target in _LINK.findall(text):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        file = (ROOT / document).parent / path if path else ROOT / document
        if not file.exists():
            found.append(f"link to {target}")
        elif anchor and anchor not in anchors(file.read_text()):
            found.append(f"no heading for {target}")
    found += [
        f"file {name}"
        for name in _PATH.findall(_LINK.sub("", text))
        if not (ROOT / name).exists() and not name.startswith(_NOT_FILES)
    ]
    found += missing_tests(_FENCE.sub("", text))
    prose = re.sub(r"```console\n.*?```", "", text, flags=re.DOTALL)  # they show mistakes, too
    found += [f"setting {name}" for name in _SETTING.findall(prose) if name not in DEFAULTS]
    for line in code(document):
        if match := re.match(r"(?:sudo )?make ([a-z0-9-]+)", line):
            if match[1] not in targets():
                found.append(f"make target {match[1]}")
        elif re.match(r"(?:\S*/)?pyshimctl( |$)", line):
            found += problems_of_command(line)
    return found


def targets() -> set[str]:
    """Return the Makefile's targets."""
    return set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


@pytest.mark.parametrize("document", DOCUMENTS)
def test_what_is_named_exists(document: str) -> None:
    assert problems(document) == []


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("[a](docs/nowhere.md)", "link to docs/nowhere.md"),
        ("[a](README.md#nothing)", "no heading for README.md#nothing"),
        ("see ocishim/nowhere.py,", "file ocishim/nowhere.py"),
        ("`nowhere.py`", "file nowhere.py"),
        ("`test_docs.py`, `::test_nothing`", "test test_docs.py::test_nothing"),
        ("`hooks.nothing`", "setting hooks.nothing"),
        ("`make nothing`", "make target nothing"),
        ("`pyshimctl cdi nothing`", "pyshimctl cdi nothing: no command 'nothing'"),
        ("`pyshimctl doctor nothing`", "pyshimctl doctor nothing: no argument nothing"),
        ("`pyshimctl doctor --nothing`", "pyshimctl doctor --nothing: no option --nothing"),
        ("```sh\npyshimctl nothing\n```\n", "pyshimctl nothing: no command 'nothing'"),
    ],
)
def test_what_does_not_exist_is_found(
    line: str,
    problem: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(
        Path, "read_text", lambda path: line if path.name == "x.md" else _read(path)
    )
    assert problems("x.md") == [problem]


def test_modules_that_docstrings_name_exist() -> None:
    missing = [
        f"{path}: {name}"
        for path, source in sources().items()
        if path.startswith(("hooks/", "ocishim/"))
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
        for name in _MODULE.findall(ast.get_docstring(node) or "")
        if not called(name)
    ]
    assert missing == []


def _read(path: Path) -> str:
    with path.open() as file:
        return file.read()


OURS = [
    pytest.param(document, body, id=f"{document}:{number}")
    for document in DOCUMENTS
    for number, body in enumerate(blocks(document, "toml"))
    if set(tomllib.loads(body)) <= {"runtimes", "cdi", "hooks", "requests", "log"}
]


@pytest.mark.parametrize(("document", "body"), OURS)
def test_configurations_are_right(document: str, body: str) -> None:
    configfile.parse(body.encode(), document)


def test_readme_shows_the_defaults() -> None:
    [body] = [body for body in blocks("README.md", "toml") if body.startswith("runtimes")]
    assert configfile.parse(body.encode(), "README.md") == DEFAULTS
    shown = tomllib.loads(body)
    names = [name for name, value in shown.items() if not isinstance(value, dict)]
    names += [f"{table}.{name}" for table in shown for name in shown[table] if table not in names]
    assert set(DEFAULTS) - set(names) == {"requests.env"}, "a setting is missing"


def test_all_toml_is_toml() -> None:
    for document in DOCUMENTS:
        for body in blocks(document, "toml"):
            tomllib.loads(body)
