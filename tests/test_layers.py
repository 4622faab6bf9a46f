"""The map of the house: who may import whom, who may touch what, and how long things may get.

A package stands on those before it in ORDER and on no other; what a function imports when it runs and
what is imported for the type checker counts like the rest. Every rule here is shown to find what it
forbids, on a made-up module, by the tests at the end.
"""

from __future__ import annotations

import ast
import functools
import os
import statistics
from collections.abc import Callable, Iterator
from glob import glob
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# From the ground up: what lies directly in ocishim/, packages and modules.
ORDER = (
    "errors", "posixos", "jsonio", "cache", "log", "linux", "oci", "rootfs", "settings", "lowlevel",
    "cdi", "hookplan", "executor", "create", "start", "hooks", "admin",
)  # fmt: skip
MAX_MODULES = 6
"""So many modules may lie directly in ocishim/: all the rest has a room."""

SYSTEM = "ocishim.posixos"  # stands for `os`
PURE = "Pure"
"""Whoever's docstring has this word, reads and runs nothing."""

# What a pure module may have of the standard library and of others: nothing that reads or runs.
HARMLESS = {
    "__future__", "_json", "binascii", "bisect", "collections.abc", "decimal", "json",
    "json.decoder", "re", "struct", "typing", "yaml", "yaml.cyaml", "yaml.error", "yaml.scanner",
}  # fmt: skip

# package or module: which of ours it must not know
STRANGERS = [
    ("ocishim", "ocishim.hooks"),
    ("ocishim.oci", "ocishim.cdi"),
    ("ocishim.linux", "ocishim.oci"),
    ("ocishim.linux", "ocishim.cdi"),
    ("ocishim.hooks", "ocishim.cdi"),
    ("ocishim.hooks", "ocishim.create"),
    ("ocishim.hooks", "ocishim.settings"),
    ("ocishim.hooks", "ocishim.admin"),
    ("conformance", "ocishim"),
]
ALLOWED_STRANGERS = {
    "conformance.adapters": "ocishim",  # a driver for the CDI corpus
    "ocishim.hooks": "ocishim.hooks",  # the package knows itself
}

# name of the module or of its package: where it may be imported
AT_HOME = {
    "ctypes": ("ocishim.linux",),
    "_ctypes": ("ocishim.linux",),
    "click": ("ocishim.admin",),
    "rich": ("ocishim.admin.printer",),
    "tomlkit": ("ocishim.admin",),
    "pynvml": ("ocishim.admin",),
    "jsonschema": ("ocishim.cdi", "ocishim.admin"),
    "yaml": ("ocishim.cdi", "ocishim.admin"),
    "pyroute2": ("ocishim.hookplan.netdevices", "ocishim.hooks.net_devices", "ocishim.admin"),
}
# start.py restores what CPython changed there, before anything reads it.
ENVIRONMENT_NAMES = (
    "environ", "environb", "getenv", "getenvb", "putenv", "setenv", "unsetenv",
)  # fmt: skip
ENVIRONMENT = ("ocishim.settings.config", "ocishim.admin", "ocishim.start", "ocishim.posixos")

# Where text leaves the programs: escaped there, whatever image, spec or engine it comes from.
PRINTERS = ("ocishim.admin.printer", "ocishim.log", "ocishim.hooks.program")
PRINTING = ("print", "click.echo", "click.secho", "click.style", "sys.stdout", "sys.stderr")

# Whoever holds config.json, or a part of it, by one of these names or got it by these means, reads.
EDITORS = ("ocishim.oci",)
NOT_CONFIG_JSON = (
    "ocishim.cdi.document", "ocishim.cdi.schema", "ocishim.cdi.versions", "ocishim.admin.generate",
)  # fmt: skip
"""Their `spec` and `hook` are a CDI spec's, which they make."""
SPEC_NAMES = ("spec", "hook", "hooks")
WAYS_IN = (
    "get", "items", "values", "find_dict", "find_list", "lists", "enumerate", "reversed", "zip",
)  # fmt: skip
EDITS = (
    "append", "clear", "extend", "insert", "pop", "popitem", "remove", "reverse", "setdefault",
    "sort", "update",
)  # fmt: skip
MAKERS = ("make_dict", "make_list", "remove_first")

# What holds words for people, an error's and others, and what reads them.
ERROR_TEXTS = ("message", "fault", "strerror", "hint", "next_step", "evidence", "sentences")
READING = (
    "endswith", "find", "index", "partition", "removeprefix", "removesuffix", "rfind", "rpartition",
    "split", "splitlines", "startswith",
)  # fmt: skip

# The reader of a machine's files, which may be anything; and those who open what is their own.
READER = "ocishim.admin.editing.files"
OWN_FILES = (
    "ocishim.admin.engines.trial",  # its FIFOs
    "ocishim.admin.frozen", "ocishim.admin.schema",  # what pyshim brings
    "ocishim.admin.install.installation",  # its lock
    "ocishim.admin.install.ownfiles",
    "ocishim.admin.install.versionfolder",  # its copy
)  # fmt: skip
OPENING = ("open", "os.open", "io.open", "os.fdopen")
OPENING_METHODS = ("read_text", "read_bytes", "open")

MAX_LINES = 300
MAX_FUNCTION = 45
MEDIAN_FUNCTION = 8


class Module:
    """One source file: its dotted name, its text and what it imports, for types or for real."""

    def __init__(self, name: str, text: str, *, is_package: bool = False) -> None:
        self.name = name
        self.is_package = is_package
        self.text = text
        self.tree = ast.parse(text)
        self.imports = sorted(set(_imports(self.tree)))

    def within(self, names: tuple[str, ...] | str) -> bool:
        """True when this is one of `names` or lies in such a package."""
        return is_within(self.name, names)


def is_within(name: str, names: tuple[str, ...] | str) -> bool:
    names = (names,) if isinstance(names, str) else names
    return any(name == other or name.startswith(other + ".") for other in names)


def _imports(tree: ast.AST) -> Iterator[str]:
    """What is imported: `from a import b` gives a and a.b."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield str(node.module)
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@functools.cache
def modules(*folders: str) -> list[Module]:
    """The modules below these folders of the repository."""
    found = []
    for folder in folders:
        # rglob does not enter links: ocishim/hooks is one.
        for path in map(Path, sorted(glob(f"{ROOT}/{folder}/**/*.py", recursive=True))):
            name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
            is_package = path.name == "__init__.py"
            name = name.removesuffix(".__init__")
            found.append(Module(name, path.read_text(), is_package=is_package))
    return found


def room(name: str) -> str:
    """The package or module of ocishim/ that `name` is or lies in; "" for ocishim itself."""
    return name.partition(".")[2].partition(".")[0]


def points_up(module: Module, known: set[str]) -> list[str]:
    here = room(module.name)
    above = ORDER[ORDER.index(here) + 1 :] if here else ORDER
    return [
        f"{module.name} imports {name}"
        for name in module.imports
        if name in known and room(name) in above
    ]


def reads_the_world(module: Module, known: set[str]) -> list[str]:
    if PURE not in (ast.get_docstring(module.tree) or ""):
        return []
    return [
        f"{module.name} is pure and imports {name}"
        for name in module.imports
        if name == SYSTEM
        or (
            name not in known
            and name not in HARMLESS
            and name.rpartition(".")[0] not in HARMLESS | known
        )
    ]


def knows_a_stranger(module: Module, known: set[str]) -> list[str]:
    return [
        f"{module.name} imports {name}"
        for name in module.imports
        for package, stranger in STRANGERS
        if module.within(package) and is_within(name, stranger)
        and not any(module.within(p) and is_within(name, s) for p, s in ALLOWED_STRANGERS.items())
    ]  # fmt: skip


def is_away_from_home(module: Module, known: set[str]) -> list[str]:
    return [
        f"{module.name} imports {name}"
        for name in module.imports
        for library, homes in AT_HOME.items()
        if is_within(name, library) and not module.within(homes)
    ]


def reads_the_environment(module: Module, known: set[str]) -> list[str]:
    if module.within(ENVIRONMENT):
        return []
    return [
        f"{module.name} line {node.lineno}: os.{node.attr}"
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Attribute) and node.attr in ENVIRONMENT_NAMES
    ]  # fmt: skip


def prints_past_the_printer(module: Module, known: set[str]) -> list[str]:
    if module.within(PRINTERS):
        return []
    return [
        f"{module.name} line {node.lineno}: {ast.unparse(node)}"
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Attribute | ast.Name) and ast.unparse(node) in PRINTING
    ]


def edits_a_spec(module: Module, known: set[str]) -> list[str]:
    """Whoever changes config.json past the changes of oci/: explain would not tell of it."""
    if module.within(EDITORS + NOT_CONFIG_JSON):
        return []
    found = set()
    for function in ast.walk(module.tree):
        if isinstance(function, ast.FunctionDef):
            held = _holding_a_spec(function)
            found |= {
                f"{module.name} line {target.lineno}: {ast.unparse(target)}"
                for node in ast.walk(function)
                for target in _edited(node)
                if _is_of_a_spec(target, held)
            }
    return sorted(found)


def _holding_a_spec(function: ast.FunctionDef) -> set[str]:
    """The names that stand for a spec, a hook or a part of them: handed over, or got from such."""
    arguments = function.args
    handed = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    held = {argument.arg for argument in handed if argument.arg in SPEC_NAMES}
    before: set[str] | None = None
    while before != held:
        before = set(held)
        for node in ast.walk(function):
            for target, value in _bound(node):
                if _is_of_a_spec(value, held):
                    held |= {name.id for name in ast.walk(target) if isinstance(name, ast.Name)}
    return held


def _bound(node: ast.AST) -> list[tuple[ast.expr, ast.expr]]:
    """What is bound to what by an assignment or a loop."""
    if isinstance(node, ast.Assign):
        pairs = [(target, node.value) for target in node.targets]
        if isinstance(node.value, ast.Tuple) and isinstance(node.targets[0], ast.Tuple):
            return list(zip(node.targets[0].elts, node.value.elts, strict=False))
        return [pair for pair in pairs if isinstance(pair[0], ast.Name | ast.Tuple)]
    if isinstance(node, ast.NamedExpr | ast.For | ast.comprehension):
        return [(node.target, node.value if isinstance(node, ast.NamedExpr) else node.iter)]
    return []


def _is_of_a_spec(value: ast.expr, held: set[str]) -> bool:
    """Whether this is a spec, or reaches into one; what a function makes of it is another thing."""
    if isinstance(value, ast.BoolOp):
        return any(_is_of_a_spec(part, held) for part in value.values)
    if isinstance(value, ast.Tuple | ast.List):
        return any(_is_of_a_spec(part, held) for part in value.elts)
    if isinstance(value, ast.ListComp | ast.GeneratorExp):
        return _is_of_a_spec(value.elt, held)
    if isinstance(value, ast.IfExp):
        return _is_of_a_spec(value.body, held) or _is_of_a_spec(value.orelse, held)
    if isinstance(value, ast.Subscript):
        return not isinstance(value.slice, ast.Slice) and _is_of_a_spec(value.value, held)
    if isinstance(value, ast.Call):
        called = value.func
        name = called.attr if isinstance(called, ast.Attribute) else ast.unparse(called)
        reached = [called.value] if isinstance(called, ast.Attribute) else []
        return name in WAYS_IN and any(_is_of_a_spec(part, held) for part in reached + value.args)
    if isinstance(value, ast.Attribute):
        return value.attr in SPEC_NAMES and value.attr != "hooks"
    return isinstance(value, ast.Name) and value.id in held


def _edited(node: ast.AST) -> list[ast.expr]:
    """The things whose content this changes."""
    targets: list[ast.expr] = []
    if isinstance(node, ast.Assign | ast.Delete):
        targets = node.targets
    elif isinstance(node, ast.AugAssign | ast.AnnAssign):
        targets = [node.target]
    edited = [
        part.value for target in targets for part in ast.walk(target)
        if isinstance(part, ast.Subscript) and not isinstance(part.ctx, ast.Load)
    ]  # fmt: skip
    if isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Name):
        edited.append(node.target)
    if isinstance(node, ast.Call):
        called = node.func
        name = called.attr if isinstance(called, ast.Attribute) else ast.unparse(called)
        if isinstance(called, ast.Attribute) and name in EDITS:
            edited.append(called.value)
        if name in MAKERS:
            edited += node.args[:1]
    return edited


def reads_an_error(module: Module, known: set[str]) -> list[str]:
    """Whoever decides by an error's text: words change, and other people's are not known."""
    found = set()
    caught = _caught(module.tree)
    for node in ast.walk(module.tree):
        read: list[ast.expr] = []
        if isinstance(node, ast.Compare):
            read = [node.left, *node.comparators]
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            if node.func.attr in READING:
                read = [node.func.value]
            elif ast.unparse(node.func.value) == "re":
                read = node.args
        found |= {
            f"{module.name} line {part.lineno}: {ast.unparse(part)}"
            for part in read
            if _is_text_of_an_error(part, caught)
        }
    return sorted(found)


def _caught(tree: ast.AST) -> set[str]:
    """The names by which errors are caught here."""
    handlers = (node for node in ast.walk(tree) if isinstance(node, ast.ExceptHandler))
    return {handler.name for handler in handlers if handler.name}


def _is_text_of_an_error(value: ast.expr, caught: set[str]) -> bool:
    if isinstance(value, ast.Attribute):
        return value.attr in ERROR_TEXTS
    if isinstance(value, ast.Subscript):
        return isinstance(value.value, ast.Attribute) and value.value.attr == "args"
    if isinstance(value, ast.Call):
        called = ast.unparse(value.func)
        of_an_error = bool(value.args) and ast.unparse(value.args[0]) in caught
        return called == "os.strerror" or (called in ("str", "repr") and of_an_error)
    return isinstance(value, ast.Name) and value.id in ERROR_TEXTS


def reads_past_the_reader(module: Module, known: set[str]) -> list[str]:
    """Whoever opens a machine's file by himself: a FIFO there would keep him waiting."""
    if not module.within("ocishim.admin") or module.within((READER, *OWN_FILES)):
        return []
    return [
        f"{module.name} line {node.lineno}: {ast.unparse(node)}"
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Call)
        and (
            ast.unparse(node.func) in OPENING
            or (isinstance(node.func, ast.Attribute) and node.func.attr in OPENING_METHODS)
        )
        and not any(isinstance(one, ast.Constant) and one.value == "w" for one in node.args[1:2])
    ]


def is_too_long(module: Module, known: set[str]) -> list[str]:
    count = module.text.count("\n")
    found = [f"{module.name} has {count} lines"] if count > MAX_LINES else []
    for node in ast.walk(module.tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = int(node.end_lineno or 0) - node.lineno + 1
            if length > MAX_FUNCTION:
                found.append(f"{module.name}.{node.name} has {length} lines")
    return found


def says_nothing(module: Module, known: set[str]) -> list[str]:
    missing = [] if ast.get_docstring(module.tree) else [f"{module.name} has no docstring"]
    evaluates = "from __future__ import annotations" not in module.text
    if evaluates and any(isinstance(node, ast.FunctionDef) for node in ast.walk(module.tree)):
        missing.append(f"{module.name} evaluates its annotations")
    return missing


RULES: list[Callable[[Module, set[str]], list[str]]] = [
    points_up, reads_the_world, knows_a_stranger, is_away_from_home, reads_the_environment,
    prints_past_the_printer, edits_a_spec, reads_an_error, reads_past_the_reader, is_too_long,
    says_nothing,
]  # fmt: skip


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_house(rule: Callable[[Module, set[str]], list[str]]) -> None:
    house = modules("ocishim")
    known = {module.name for module in house}
    guests = modules("conformance") if rule is knows_a_stranger else []
    faults = [fault for module in house + guests for fault in rule(module, known)]
    assert faults == []


def test_no_circle() -> None:
    """Modules that need each other, be it when a function runs, cannot be read one at a time."""
    house = {module.name: module for module in modules("ocishim")}
    packages = {name for name in house if any(other.startswith(name + ".") for other in house)}
    below = {
        name: {other for other in module.imports if other in house} - packages - {name}
        for name, module in house.items()
    }
    while done := [name for name, needs in below.items() if not needs]:
        for name in done:
            del below[name]
        below = {name: needs - set(done) for name, needs in below.items()}
    assert below == {}


def test_the_order_names_every_room() -> None:
    rooms = {room(module.name) for module in modules("ocishim")} - {""}
    assert sorted(rooms) == sorted(ORDER)


def test_few_modules_have_no_room() -> None:
    loose = sorted(path.name for path in (ROOT / "ocishim").glob("*.py"))
    loose.remove("__init__.py")
    assert len(loose) <= MAX_MODULES, loose


def test_every_package_says_what_it_is_for_and_what_it_leaves() -> None:
    for module in modules("ocishim"):
        if module.is_package:
            sentences = (ast.get_docstring(module.tree) or "").count(".")
            assert sentences >= 2, module.name


def test_functions_are_short() -> None:
    lengths = [
        int(node.end_lineno or 0) - node.lineno + 1
        for module in modules("ocishim")
        for node in ast.walk(module.tree)
        if isinstance(node, ast.FunctionDef)
    ]
    assert statistics.median(lengths) <= MEDIAN_FUNCTION


def test_every_folder_is_looked_at() -> None:
    """A module in a folder without `__init__.py` would be found by nobody who installs."""
    for folder in ("ocishim",):
        for directory, _, files in os.walk(ROOT / folder, followlinks=True):
            if any(file.endswith(".py") for file in files):
                assert "__init__.py" in files, directory


WRONG = [
    pytest.param(points_up, "ocishim.oci.spec", "import ocishim.rootfs.tree",
        id="oci imports rootfs"),
    pytest.param(points_up, "ocishim.log", "from ocishim import create", id="log imports create"),
    pytest.param(points_up, "ocishim.cache", "def f():\n    from ocishim.create.entry import main",
        id="in a function"),
    pytest.param(points_up, "ocishim.log", "if TYPE_CHECKING:\n    from ocishim.create import argv",
        id="for types"),
    pytest.param(points_up, "ocishim", "import ocishim.errors", id="the package imports its own"),
    pytest.param(reads_the_world, "ocishim.cdi.names", '"""Pure."""\nimport os',
        id="pure imports os"),
    pytest.param(reads_the_world, "ocishim.cdi.names", '"""Pure."""\nfrom ocishim import posixos',
        id="pure imports posixos"),
    pytest.param(reads_the_world, "ocishim.create.requests",
        '"""Pure."""\nfrom subprocess import run', id="pure imports subprocess"),
    pytest.param(knows_a_stranger, "ocishim.log", "import ocishim.hooks.chain",
        id="ocishim imports hooks"),
    pytest.param(knows_a_stranger, "ocishim.oci.spec", "from ocishim.cdi import names",
        id="oci imports cdi"),
    pytest.param(knows_a_stranger, "ocishim.hooks.chmod", "from ocishim.settings import config",
        id="hooks import settings"),
    pytest.param(knows_a_stranger, "conformance.run", "from ocishim import jsonio",
        id="conformance imports ocishim"),
    pytest.param(is_away_from_home, "ocishim.rootfs.rootfs", "import ctypes",
        id="ctypes outside linux"),
    pytest.param(is_away_from_home, "ocishim.log", "from click import echo",
        id="click outside admin"),
    pytest.param(is_away_from_home, "ocishim.hooks.chmod", "from yaml.cyaml import CParser",
        id="yaml in a hook"),
    pytest.param(reads_the_environment, "ocishim.lowlevel.lowlevel", "import os\nos.environ['X']",
        id="environ"),
    pytest.param(reads_the_environment, "ocishim.hooks.chmod", "import os\nx = os.getenv('X')",
        id="getenv"),
    pytest.param(prints_past_the_printer, "ocishim.admin.doctor", "click.secho('x')",
        id="click in a command"),
    pytest.param(prints_past_the_printer, "ocishim.hooks.chmod", "print('x')",
        id="print in a hook"),
    pytest.param(edits_a_spec, "ocishim.create.plan", "def f(spec):\n spec['hooks'] = {}",
        id="a member is set"),
    pytest.param(edits_a_spec, "ocishim.create.plan", "def f(made):\n made.spec['hooks']['x'] = {}",
        id="an attribute's member is set"),
    pytest.param(edits_a_spec, "ocishim.create.plan",
        "def f(spec):\n hooks = spec.get('hooks') or {}\n del hooks['x']", id="a part is deleted"),
    pytest.param(edits_a_spec, "ocishim.hookplan.hookplan",
        "def f(hook):\n args = hook['args']\n args[2:2] = ['x']", id="a slice of a part"),
    pytest.param(edits_a_spec, "ocishim.hookplan.hookplan",
        "def f(spec):\n for a, b in lists(spec).items():\n  b.append(1)", id="appended in a loop"),
    pytest.param(edits_a_spec, "ocishim.executor.usermap",
        "def f(spec):\n found = find_list(spec, 'mounts')\n found += [1]",
        id="added to what was found"),
    pytest.param(edits_a_spec, "ocishim.executor.usermap",
        "def f(spec):\n make_dict(spec, 'linux')", id="made on the way"),
    pytest.param(reads_an_error, "ocishim.log", "def f(err):\n return 'x' in err.message",
        id="a word in a message"),
    pytest.param(reads_an_error, "ocishim.log",
        "def f(message):\n return os.strerror(13) in message", id="the kernel's word"),
    pytest.param(reads_an_error, "ocishim.log",
        "try:\n x()\nexcept ValueError as e:\n y = str(e).startswith('x')",
        id="how an error begins"),
    pytest.param(reads_an_error, "ocishim.log", "def f(err):\n return re.search('x', err.message)",
        id="by regular expression"),
    pytest.param(reads_an_error, "ocishim.admin.engines",
        "def unit(self):\n return self.next_step.rpartition(' ')[2]", id="a fact out of a hint"),
    pytest.param(reads_an_error, "ocishim.hooks.chmod",
        "def f(e):\n return e.message.partition(':')", id="in a hook"),
    pytest.param(reads_past_the_reader, "ocishim.admin.generate.gpus", "with open(path) as f: pass",
        id="open in a generator"),
    pytest.param(reads_past_the_reader, "ocishim.admin.checks.base", "os.open(path, os.O_RDONLY)",
        id="os.open in a check"),
    pytest.param(reads_past_the_reader, "ocishim.admin.refresh.nodes", "Path(x).read_text()",
        id="a Path's text in refresh"),
    pytest.param(is_too_long, "ocishim.log", "x = 1\n" * 301, id="301 lines"),
    pytest.param(is_too_long, "ocishim.log", "def f():\n" + "    x = 1\n" * 45,
        id="46 lines in a function"),
    pytest.param(says_nothing, "ocishim.log", "x = 1", id="no docstring"),
    pytest.param(says_nothing, "ocishim.log", '"""X."""\ndef f(): pass',
        id="annotations are evaluated"),
]  # fmt: skip
RIGHT = [
    pytest.param(points_up, "ocishim.log", "import ocishim.jsonio", id="log imports jsonio"),
    pytest.param(
        points_up, "ocishim.oci.spec", "from ocishim.oci import bundle", id="its own room"
    ),
    pytest.param(
        reads_the_world, "ocishim.cdi.names", '"""Pure."""\nimport re', id="pure imports re"
    ),
    pytest.param(reads_the_world, "ocishim.log", "import os", id="I/O imports os"),
    pytest.param(
        knows_a_stranger, "conformance.adapters.x", "from ocishim import jsonio", id="adapters"
    ),
    pytest.param(is_away_from_home, "ocishim.linux.ffi", "import ctypes", id="ctypes in linux"),
    pytest.param(
        reads_the_environment, "ocishim.admin.cli", "import os\nos.environ", id="admin's environ"
    ),
    pytest.param(
        reads_past_the_reader, "ocishim.admin.cdi", "files.content(path)", id="by the reader"
    ),
    pytest.param(
        edits_a_spec, "ocishim.oci.changes", "def f(spec):\n spec['x'] = 1", id="oci edits"
    ),
    pytest.param(
        edits_a_spec,
        "ocishim.create.plan",
        "def f(spec):\n kept = list(spec['hooks'])\n kept.append(1)",
        id="a list of one's own",
    ),
    pytest.param(
        is_too_long, "ocishim.log", "def f():\n" + "    x = 1\n" * 44, id="45 lines in a function"
    ),
]


@pytest.mark.parametrize(("rule", "name", "text"), WRONG)
def test_a_rule_finds(rule: Callable[[Module, set[str]], list[str]], name: str, text: str) -> None:
    known = {module.name for module in modules("ocishim")}
    assert rule(Module(name, text), known)


@pytest.mark.parametrize(("rule", "name", "text"), RIGHT)
def test_a_rule_lets_pass(
    rule: Callable[[Module, set[str]], list[str]], name: str, text: str
) -> None:
    known = {module.name for module in modules("ocishim")}
    assert rule(Module(name, text), known) == []
