"""What is found in one module; runs in a worker process, so that the event loop stays free."""

from __future__ import annotations

import ast
import os
import warnings
from collections.abc import Iterator

from msgspec import Struct

_LONG = 100
"""A function of more lines is a finding."""

_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


class Finding(Struct, frozen=True):
    """One kind of trouble in one module.

    Attributes:
        kind: what it is.
        count: how often it is there.
        line: where first.
    """

    kind: str
    count: int
    line: int


class ModuleFacts(Struct, frozen=True):
    """What one module holds.

    Attributes:
        size: bytes.
        lines: lines.
        functions: functions and methods.
        undocumented: those among them without a docstring.
        longest: lines of the longest function.
        longest_name: its name; "" when there is none.
        findings: what to file, in an order that never varies.
    """

    size: int
    lines: int
    functions: int = 0
    undocumented: int = 0
    longest: int = 0
    longest_name: str = ""
    findings: tuple[Finding, ...] = ()

    @property
    def tokens(self) -> int:
        """Tokens that reading it is taken to cost: one for four bytes."""
        return self.size // 4 + 1


def examine(path: bytes) -> ModuleFacts:
    """Read and parse a module; whatever is wrong with it is a finding."""
    try:
        with open(path, "rb") as file:  # noqa: PTH123 - bytes
            source = file.read()
    except OSError:
        return ModuleFacts(0, 0, findings=(Finding("cannot be read", 1, 0),))
    lines = source.count(b"\n") + 1
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(source)
            return _facts(tree, len(source), lines)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        line = getattr(error, "lineno", 0) or 0
        return ModuleFacts(len(source), lines, findings=(Finding("does not parse", 1, line),))


def full_path(root: str, path: bytes) -> bytes:
    """The path of a module of a tree."""
    return os.path.join(os.fsencode(root), path)  # noqa: PTH118 - bytes


def _facts(tree: ast.Module, size: int, lines: int) -> ModuleFacts:
    functions = undocumented = longest = 0
    longest_name = ""
    seen: dict[str, list[int]] = {}
    for node in ast.walk(tree):
        if isinstance(node, _FUNCTIONS):
            functions += 1
            undocumented += ast.get_docstring(node, clean=False) is None
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            if length > longest:
                longest, longest_name = length, node.name
        for kind, line in _troubles(node):
            seen.setdefault(kind, []).append(line)
    findings = tuple(Finding(kind, len(where), min(where)) for kind, where in sorted(seen.items()))
    return ModuleFacts(size, lines, functions, undocumented, longest, longest_name, findings)


def _troubles(node: ast.AST) -> Iterator[tuple[str, int]]:
    if isinstance(node, _FUNCTIONS):
        if (node.end_lineno or node.lineno) - node.lineno >= _LONG:
            yield f"function over {_LONG} lines", node.lineno
        defaults = [*node.args.defaults, *node.args.kw_defaults]
        if any(isinstance(default, ast.List | ast.Dict | ast.Set) for default in defaults):
            yield "mutable default", node.lineno
    elif isinstance(node, ast.ExceptHandler):
        if node.type is None:
            yield "bare except", node.lineno
    elif isinstance(node, ast.Compare):
        pairs = zip(node.ops, node.comparators, strict=True)
        if any(isinstance(op, ast.Eq | ast.NotEq) and _is_none(right) for op, right in pairs):
            yield "compares with None by ==", node.lineno
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in {"eval", "exec"}:
        yield "calls eval or exec", node.lineno


def _is_none(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is None
