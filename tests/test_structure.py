"""The package keeps its own rules: imports, public names, sizes, and that loading never runs code."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import kernelckpt

PACKAGE = Path(kernelckpt.__file__).parent
ROOMS = (
    "errors",
    "model",
    "abc",
    "codec",
    "adapters",
    "storage",
    "log",
    "kernel",
    "checkpoint",
    "testing",
    "demo",
    "cli",
)
"""Each room imports only from those before it."""

STRANGERS = (
    *(
        ("adapters", room)
        for room in ("abc", "storage", "log", "kernel", "checkpoint", "testing", "demo", "cli")
    ),
    ("storage", "kernel"),
    ("storage", "testing"),
    ("kernel", "testing"),
    ("kernel", "log"),
)
"""Rooms of which neither imports the other. Nobody inside needs the adapters: they are for users."""

SERVES_USERS = {"demo", "cli", "testing", "__main__"}
"""Rooms that may import the package's public names as users do."""

LONGEST_FILE = 400
LONGEST_FUNCTION = 60
RUNS_CODE = {"pickle", "cPickle", "dill", "cloudpickle", "marshal", "shelve", "yaml", "runpy", "importlib"}
RUNS_CODE |= {
    "_pickle",
    "jsonpickle",
    "joblib",
    "code",
    "codeop",
    "ctypes",
    "builtins",
    "imp",
    "pkgutil",
    "zipimport",
}
LOADS_CODE = {
    "kernelckpt.storage.url": {"importlib"},  # storages that other packages add
    "kernelckpt.cli.scheduler_factory": {"importlib"},  # what a user names with `verify --app`
    "kernelckpt.cli.app": {"importlib"},  # the command that is called, out of a table
}
EVALUATES = {"eval", "exec", "compile", "__import__", "__builtins__", "globals"}
EVALUATES_FOR = {"eval", "exec", "__import__", "__subclasses__", "__reduce__"}
"""Attributes that mean the same, of whatever object."""

STARTS = ("os.system", "os.popen", "os.exec", "os.spawn", "os.posix_spawn")
"""Functions that start programs."""

HOOKS = {
    "ext_hook": {"refuse_ext"},
    "object_pairs_hook": {"_unique"},
    "object_hook": set(),
    "dec_hook": {"built"},  # models of the types that the user's own program declares
}
"""What decoders may call, by the name of the argument: nothing that builds what the data name."""


def module_name(path: Path) -> str:
    parts = ["kernelckpt", *path.relative_to(PACKAGE).with_suffix("").parts]
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FILES = {module_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}


@cache
def tree_of(module: str) -> ast.Module:
    return ast.parse(FILES[module].read_text())


def is_for_types(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")


def nodes(tree: ast.AST, *, with_types: bool) -> Iterator[ast.AST]:
    for node in ast.iter_child_nodes(tree):
        if with_types or not is_for_types(node):
            yield node
            yield from nodes(node, with_types=with_types)


def imported(module: str, *, with_types: bool = True) -> set[str]:
    """What a module imports, inside functions too; names of modules of this package in full."""
    found: set[str] = set()
    for node in nodes(tree_of(module), with_types=with_types):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} imports relatively"
            assert node.module is not None
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= (inner & FILES.keys()) or {node.module}
    return found


def room_of(module: str) -> str:
    return module.split(".")[1] if "." in module else ""


def rooms_imported(module: str) -> set[str]:
    return {room_of(name) for name in imported(module) if name.split(".")[0] == "kernelckpt"}


@pytest.mark.parametrize("module", FILES)
def test_a_room_imports_only_from_rooms_before_it(module: str) -> None:
    room = room_of(module)
    if room in {"", "__main__"}:
        return
    allowed = set(ROOMS[: ROOMS.index(room) + 1])
    allowed -= {b if room == a else a for a, b in STRANGERS if room in {a, b}}
    if room in SERVES_USERS:
        allowed.add("")
    assert rooms_imported(module) <= allowed


def test_there_are_no_other_rooms() -> None:
    assert {room_of(module) for module in FILES} - {"", "__main__"} <= set(ROOMS)


def test_modules_do_not_import_in_circles() -> None:
    graph = {
        module: (imported(module, with_types=False) & FILES.keys()) - {module, "kernelckpt"}
        for module in FILES
        if module != "kernelckpt"
    }
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"imports in a circle: {' <- '.join(error.args[1])}")


def test_all_names_what_the_package_hands_out() -> None:
    stub = ast.parse((PACKAGE / "__init__.pyi").read_text())
    named = [alias.name for node in stub.body if isinstance(node, ast.ImportFrom) for alias in node.names]
    (listed,) = [ast.literal_eval(node.value) for node in stub.body if isinstance(node, ast.Assign)]
    assert sorted(kernelckpt.__all__) == sorted(named) == sorted(listed)
    assert [name for name in kernelckpt.__all__ if not hasattr(kernelckpt, name)] == []


def test_importing_the_package_imports_nothing_of_it() -> None:
    command = (
        "import sys, kernelckpt; print([name for name in sys.modules if name.startswith('kernelckpt.')])"
    )
    done = subprocess.run([sys.executable, "-c", command], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_the_package_holds_no_logic() -> None:
    logic = [
        ast.unparse(node)
        for node in tree_of("kernelckpt").body[1:]
        if not isinstance(node, (ast.Import, ast.Assign))
    ]
    assert logic == []


@pytest.mark.parametrize("module", FILES)
def test_files_and_functions_stay_small(module: str) -> None:
    length = len(FILES[module].read_text().splitlines())
    assert length <= LONGEST_FILE
    for node in ast.walk(tree_of(module)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            assert length_of(node) <= LONGEST_FUNCTION, node.name


def length_of(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of a function without its docstring."""
    assert node.end_lineno is not None
    length = node.end_lineno - node.lineno + 1
    if ast.get_docstring(node) is not None:
        first = node.body[0]
        assert first.end_lineno is not None
        length -= first.end_lineno - first.lineno + 1
    return length


@pytest.mark.parametrize("module", FILES)
def test_loading_never_runs_code(module: str) -> None:
    used = {name.split(".")[0] for name in imported(module)} & RUNS_CODE
    assert used <= LOADS_CODE.get(module, set())
    assert evaluating(tree_of(module)) == set()


def evaluating(tree: ast.AST) -> set[str]:
    """Whatever in this code evaluates text, or has a decoder build objects."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and node.id in EVALUATES:
            found.add(node.id)
        elif isinstance(node, ast.Attribute) and (
            node.attr in EVALUATES_FOR or ast.unparse(node).startswith(STARTS)
        ):
            found.add(ast.unparse(node))
        elif (
            isinstance(node, ast.keyword)
            and node.arg in HOOKS
            and ast.unparse(node.value) not in HOOKS[node.arg]
        ):
            found.add(f"{node.arg}={ast.unparse(node.value)}")
    return found


@pytest.mark.parametrize(
    "code",
    [
        "eval(text)",
        "run = exec",
        "__import__(name)",
        "os.system(text)",
        "decode(data, ext_hook=build)",
        "decode(data, object_hook=build)",
        "Decoder(type_, dec_hook=lambda kind, value: kind(value))",
        "object.__subclasses__()",
    ],
)
def test_code_that_would_is_seen(code: str) -> None:
    assert evaluating(ast.parse(code))
    assert not evaluating(ast.parse("re.compile(text), decode(data, ext_hook=refuse_ext, strict=True)"))


@pytest.mark.parametrize("module", FILES)
def test_every_module_says_what_it_is_for(module: str) -> None:
    assert ast.get_docstring(tree_of(module))


def test_the_package_is_typed() -> None:
    assert (PACKAGE / "py.typed").is_file()
