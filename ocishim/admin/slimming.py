"""Code objects of our modules with nothing that only readers and type checkers need.

What a program does not have, it does not read, unmarshal and run at every start: docstrings,
annotations, what stands under `if TYPE_CHECKING`, `from __future__ import annotations`. Line
numbers stay, for tracebacks. Leaves the columns in them to whoever starts the interpreter
(`-X no_debug_ranges`), and which modules are compiled to preloading.py.
"""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from types import CodeType

_Function = TypeVar("_Function", ast.FunctionDef, ast.AsyncFunctionDef)


def compiled(source: bytes, path: str) -> CodeType:
    """Return the code of the module `source`, whose tracebacks say `path`.

    Nothing in it may read annotations: no dataclass, no NamedTuple, no TypedDict outside
    `if TYPE_CHECKING`.
    """
    code: CodeType = compile(_slim(source), path, "exec", dont_inherit=True, optimize=2)
    return code


def text(source: bytes) -> str:
    """Return the module `source` as source without annotations, and without its comments."""
    return ast.unparse(_slim(source)) + "\n"


def _slim(source: bytes) -> ast.Module:
    tree: ast.Module = ast.fix_missing_locations(_Slimmer().visit(ast.parse(source)))
    return tree


class _Slimmer(ast.NodeTransformer):
    """Removes; a statement that was a block's only one becomes `pass`."""

    def generic_visit(self, node: ast.AST) -> ast.AST:
        had_body = bool(getattr(node, "body", None))
        super().generic_visit(node)
        if had_body and node.body == []:  # type: ignore[attr-defined]
            node.body = [ast.Pass()]  # type: ignore[attr-defined]
        return node

    def visit_arg(self, node: ast.arg) -> ast.arg:
        node.annotation = None
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        return self._without_result(node)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> ast.AST:
        return self._without_result(node)

    def _without_result(self, node: _Function) -> ast.AST:
        node.returns = None
        return self.generic_visit(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST | None:
        if node.value is None:
            return None
        value = self.visit(node.value)
        return ast.copy_location(ast.Assign(targets=[node.target], value=value), node)

    def visit_If(self, node: ast.If) -> ast.AST | list[ast.stmt]:
        self.generic_visit(node)
        if isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            return node.orelse
        return node

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.AST | None:
        return None if node.module == "__future__" else node
