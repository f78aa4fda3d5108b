"""Reaches names of the main program: its module is run, not imported, so import hooks never see it.

`patch: tools: ["agent:TOOL_REGISTRY"]` shall also work for `python agent.py` and `python -m pkg.agent`. When otel-tools
is started before the program (by `opentelemetry-instrument`), the program's source is compiled with calls of `rebind`
between its statements, which instrument the wanted names as they come into being:

* A script: CPython looks for an importer of the script's path, as it does for zip applications. Ours accepts just this
  path, runs the script as CPython would have, and restores what running it through an importer changes.
* A module (`-m`): `runpy` asks the module's loader for the code, and gets ours instead.

Nothing of this happens unless such a name is configured.
"""

from __future__ import annotations

import ast
import functools
import logging
import sys
import zipimport
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType, TracebackType
from typing import Any

import wrapt

from otel_tools.errors import internal_error

_logger = logging.getLogger("otel_tools")
_wanted: dict[str, Callable[[Any], Any]] = {}
_waiting = False


def bind(wanted: Mapping[str, Callable[[Any], Any]]) -> None:
    """Replace objects of the main program by what functions make of them.

    Args:
        wanted: Name in the main program (`TOOL_REGISTRY`, `Agent.run`) -> a function that gets the object and returns
            what is to stand there. It is called again after later statements, because a registry is often filled
            after it was made, and must leave alone what it has made itself.
    """
    global _waiting  # noqa: PLW0603  there is one main program
    _wanted.update(wanted)
    main = sys.modules["__main__"]
    if _runs(main):
        rebind()
        _warn_of_missing(set(vars(main)), " yet; start it with `opentelemetry-instrument`, or use the decorators")
    elif not _waiting:
        _waiting = True
        for name in main_module_names() - {"__main__"}:  # somebody may import it as well
            wrapt.register_post_import_hook(_rebind_in, name)
        kind, program = _command(sys.orig_argv[1:])
        if kind == "module":
            sys.meta_path.insert(0, _ModuleFinder(program))
        elif kind == "script":
            sys.path_hooks.insert(0, _script_hook)


def _runs(main: ModuleType) -> bool:
    frame = sys._getframe()  # noqa: SLF001  the documented way to walk the stack
    while frame.f_back is not None:
        frame = frame.f_back
    return frame.f_globals is vars(main) or hasattr(main, "__file__")


# --- names ----------------------------------------------------------------------------------------------------------
def main_module_names() -> set[str]:
    """What a configuration may call the main program: `__main__`, and the names by which it could be imported."""
    kind, program = _command(sys.orig_argv[1:])
    names = {"__main__"}
    if kind == "module":
        names |= {program, f"{program}.__main__"}
    elif kind == "script":
        name = ""
        for part in reversed(Path(program).absolute().with_suffix("").parts):
            if not part.isidentifier():
                break
            name = f"{part}.{name}" if name else part
            names.add(name)
    return names


def _command(arguments: Sequence[str]) -> tuple[str, str]:
    """What Python was told to run: `("script", path)`, `("module", name)` or `("", "")`."""
    rest = iter(arguments)
    for argument in rest:
        if argument == "--check-hash-based-pycs":
            next(rest, None)
        elif not argument.startswith("-"):
            return "script", argument
        elif not argument.startswith("--"):
            flag, attached = _flag_with_value(argument[1:])
            value = attached or next(rest, "") if flag else ""
            if flag in {"c", "m"}:
                return ("module", value) if flag == "m" else ("", "")
    return "", ""


def _flag_with_value(flags: str) -> tuple[str, str]:
    """The flag among *flags* (`uIm` of `-uIm`) that takes a value, and what is attached to it."""
    return next(((flag, flags[place:]) for place, flag in enumerate(flags, 1) if flag in "cmWX"), ("", ""))


# --- replacing ------------------------------------------------------------------------------------------------------
def rebind(module: str = "__main__") -> None:
    """Replace what is wanted and has come into being; the main program calls this between its statements."""
    if module in sys.modules:
        _rebind_in(sys.modules[module])


def _rebind_in(module: ModuleType) -> None:
    for name, replacement in _wanted.items():
        try:
            parent, attribute, before = wrapt.resolve_path(module, name)
        except AttributeError:
            continue
        try:
            after = replacement(before)
            if after is not before:
                setattr(parent, attribute, after)
        except Exception:
            internal_error("instrumenting a name of the main program")


def _warn_of_missing(defined: set[str], hint: str = "") -> None:
    for module in main_module_names() & sys.modules.keys():
        defined |= vars(sys.modules[module]).keys()
    missing = sorted(name for name in _wanted if name.partition(".")[0] not in defined)
    if missing:
        text = "otel-tools: the configuration names %s, which the main program does not define%s"
        _logger.warning(text, ", ".join(missing), hint)


_CLAUSES = (ast.ExceptHandler, ast.match_case)
_RUN_ONCE = (ast.If, ast.Try, ast.TryStar, ast.With, ast.AsyncWith, ast.Match, *_CLAUSES)


# --- compiling ------------------------------------------------------------------------------------------------------
def _compile(source: str | bytes, path: str) -> CodeType:
    tree = ast.parse(source, path)
    bound = set(_bound(tree))
    if "*" not in bound:
        _warn_of_missing(bound)
    tree.body = _interleaved(tree.body, {name.partition(".")[0] for name in _wanted}, everywhere=True)
    return compile(tree, path, "exec", dont_inherit=True)


def _bound(tree: ast.AST) -> Iterator[str]:
    """Names that are bound somewhere in *tree*; `*` for an import of everything."""
    for node in ast.walk(tree):
        match node:
            case ast.Name(id=name, ctx=ast.Store()):
                yield name
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                yield name
            case ast.alias(name=name, asname=asname):
                yield asname or name.partition(".")[0]


def _interleaved(body: list[ast.stmt], wanted: set[str], *, everywhere: bool) -> list[ast.stmt]:
    """*body* with a call of `rebind` after each statement or, in loops and functions, after those that bind a name.

    A registry may be filled by any statement; but a call in every turn of a loop would be felt.
    """
    result: list[ast.stmt] = []
    for statement in body:
        _interleave_blocks(statement, wanted, everywhere=everywhere)
        result.append(statement)
        if (everywhere and not _is_preamble(statement)) or not wanted.isdisjoint(_bound(statement)):
            result.append(_rebinding(statement))
    return result


def _interleave_blocks(node: ast.AST, wanted: set[str], *, everywhere: bool) -> None:
    if isinstance(node, ast.ClassDef | ast.Lambda):
        return
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        wanted = wanted & {name for inner in ast.walk(node) if isinstance(inner, ast.Global) for name in inner.names}
        if not wanted:
            return
    everywhere = everywhere and isinstance(node, _RUN_ONCE)
    for field, value in ast.iter_fields(node):
        if isinstance(value, list) and value and isinstance(value[0], ast.stmt):
            setattr(node, field, _interleaved(value, wanted, everywhere=everywhere))
        elif isinstance(value, list):
            for clause in value:
                if isinstance(clause, _CLAUSES):
                    _interleave_blocks(clause, wanted, everywhere=everywhere)


def _is_preamble(statement: ast.stmt) -> bool:
    """Whether it is a docstring or a `from __future__` import, which nothing may come before."""
    match statement:
        case ast.Expr(value=ast.Constant()) | ast.ImportFrom(module="__future__"):
            return True
    return False


def _rebinding(statement: ast.stmt) -> ast.stmt:
    """A call of `rebind` that adds no name to the program's namespace, at the place of *statement*."""
    call = ast.parse(f"__import__({__name__!r}, fromlist=('rebind',)).rebind(__name__)").body[0]
    for node in ast.walk(call):
        ast.copy_location(node, statement)
    return call


# --- python script.py -----------------------------------------------------------------------------------------------
def _script_hook(path: str) -> _Script:
    """The importer of the main script, for `sys.path_hooks`; `ImportError` for every other path."""
    kind, program = _command(sys.orig_argv[1:])
    if kind != "script" or Path(path).absolute() != Path(program).absolute() or not Path(path).is_file():
        raise ImportError
    try:
        zipimport.zipimporter(path)
    except zipimport.ZipImportError:
        if not path.endswith(".pyc"):
            return _Script(path)
    raise ImportError


class _Script:
    """Importer and loader of the main script."""

    def __init__(self, path: str) -> None:
        self._path = path

    def find_spec(self, name: str, target: ModuleType | None = None) -> ModuleSpec | None:  # noqa: ARG002  protocol
        loader: Any = self  # all that runpy wants of a loader is `get_code`
        return ModuleSpec(name, loader, origin=self._path) if name == "__main__" else None

    def get_code(self, _name: str) -> CodeType:
        start = f"__import__({__name__!r}, fromlist=('run_script',)).run_script({self._path!r}, globals())"
        return compile(start, "<otel_tools>", "exec", dont_inherit=True)


def run_script(path: str, variables: dict[str, Any]) -> None:
    """Run the main script in the namespace of `__main__`, which is restored to that of `python script.py`."""
    sys.path_hooks.remove(_script_hook)
    sys.path_importer_cache.pop(path, None)
    if sys.flags.safe_path:
        sys.path.remove(path)
    else:
        sys.path[sys.path.index(path)] = str(Path(path).resolve().parent)
    loader = SourceFileLoader("__main__", path)
    variables |= {"__spec__": None, "__package__": None, "__cached__": None, "__loader__": loader, "__file__": path}
    try:
        exec(_compile(loader.get_data(path), path), variables)  # noqa: S102  the program that is to be run
    except SystemExit:
        raise
    except BaseException:
        _hide_our_frames(path)
        raise


def _hide_our_frames(path: str) -> None:
    """Let the traceback that ends the program begin in the program, as it would without us."""
    hook = sys.excepthook

    def show(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
        sys.excepthook = hook
        while traceback is not None and traceback.tb_frame.f_code.co_filename != path:
            traceback = traceback.tb_next
        hook(kind, error.with_traceback(traceback), traceback)

    sys.excepthook = show


# --- python -m module -----------------------------------------------------------------------------------------------
class _ModuleFinder:
    """Finds the main module as Python does, and gives its loader our code."""

    def __init__(self, name: str) -> None:
        self._name = name

    def find_spec(self, name: str, path: Any = None, target: ModuleType | None = None) -> ModuleSpec | None:
        if name not in {self._name, f"{self._name}.__main__"}:
            return None
        spec = PathFinder.find_spec(name, path, target)
        if spec is None or spec.submodule_search_locations is not None:
            return None  # a package: runpy goes on to its `__main__`
        sys.meta_path.remove(self)
        loader: Any = spec.loader
        loader.get_code = functools.partial(_module_code, loader, loader.get_code)  # of this one loader object
        return spec


def _module_code(loader: Any, original: Callable[[str], CodeType], name: str) -> CodeType:
    try:
        return _compile(loader.get_source(name), loader.get_filename(name))
    except SyntaxError:
        pass  # the original says so itself
    except Exception:
        internal_error("compiling the main module")
    return original(name)
