"""The architecture, checked: who imports whom, how long things are, what is public."""

from __future__ import annotations

import ast
import statistics
import subprocess
import sys
from pathlib import Path

import pytest

import otel_tools

PACKAGE = Path(otel_tools.__file__).parent
MODULES = sorted(PACKAGE.rglob("*.py"))

# module -> what it may import of ours, by prefix. Everything above an arrow's end may use what is below it.
VALUES = {"errors", "semconv", "version"}
POLICY = {"policy", "errors"}
MODEL = {"model", *POLICY}
SETTINGS = {"config", "keys", "settings", "schema", "yaml_file", *POLICY}
WRITING = {"telemetry", "coexistence", "capture", "sessions", "recordings", *MODEL, *VALUES}
ENGINE = {
    "engine",
    "drivers",
    "deadlines",
    "ledger",
    "stepping",
    "implicit",
    "drops",
    "calls",
    "streams",
    "workers",
    "pricing",
    "rates",
    *WRITING,
    *SETTINGS,
}
ALLOWED: dict[str, set[str]] = {
    "errors": set(),
    "semconv": set(),
    "version": set(),
    "policy": POLICY,
    "model": {"policy"},
    "schema": {"policy", "errors"},
    "settings": {"policy"},
    "keys": {"schema", "settings", "policy"},
    "yaml_file": {"errors"},
    "config": SETTINGS,
    "adapters.wire": {"model", "adapters.wire", "policy.outcome"},
    "adoption": {"errors", "semconv"},
    "adapters": {"model", "adapters.wire", "policy.outcome"},
    "coexistence": {"model", "semconv"},
    "telemetry": {"model", *VALUES, "policy"},
    "sessions": {"model", "policy"},
    "capture": {"model", "semconv"},
    "recordings": WRITING,
    "ledger": {"policy", "sessions"},
    "rates": {"model"},
    "pricing": {"model", "rates", "errors", "policy.forks"},
    "workers": {"model", "telemetry", "errors", "policy.forks"},
    "deadlines": {"calls", "errors", "model", "policy", "stepping", "workers"},
    "streams": {"model", "telemetry", "errors", "drops", "calls", "deadlines"},
    "calls": WRITING | {"engine"},
    "stepping": {"telemetry"},
    "drivers": ENGINE - {"engine"},
    "engine": ENGINE,
    "finding": {"model"},
    "drops": set(),
    "implicit": WRITING | {"calls", "drops", "engine"},
    "patching": ENGINE | {"adoption", "finding"},
    "functions": ENGINE,
    "operations": ENGINE | {"steering"},
    "steering": ENGINE,
    "mainscript": {"errors"},
    "runs": ENGINE | {"functions"},
    "discovery": ENGINE | {"functions", "mainscript", "runs"},
}
ANYTHING = {"__init__", "instrumentor", "auto", "control", "cli", "demo", "ops"}
TYPES_ONLY = {("implicit", "engine"), ("calls.base", "engine"), ("calls.tool", "engine"), ("streams", "calls")}
"""Arrows against the layers that exist for the type checker only."""


def name_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__") or "__init__"


def imports(tree: ast.AST) -> set[str]:
    """Our modules that *tree* imports, without the package's name."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    ours = {name.removeprefix("otel_tools.") for name in found if name.startswith("otel_tools.")}
    return {name for name in ours if (PACKAGE / Path(*name.split("."))).exists() or is_module(name)}


def is_module(name: str) -> bool:
    return PACKAGE.joinpath(*name.split(".")).with_suffix(".py").exists()


def under_type_checking(tree: ast.Module) -> list[ast.AST]:
    return [
        node
        for node in tree.body
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
    ]


def rule_for(module: str) -> set[str] | None:
    for end in range(len(module.split(".")), 0, -1):
        prefix = ".".join(module.split(".")[:end])
        if prefix in ANYTHING:
            return None
        if prefix in ALLOWED:
            return ALLOWED[prefix]
    pytest.fail(f"{module} has no place in the architecture: add it to the table, or better, put it where it belongs")


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_imports_follow_the_layers(path):
    """Every arrow between our modules is one of the table's."""
    module = name_of(path)
    allowed = rule_for(module)
    if allowed is None:
        return
    tree = ast.parse(path.read_text())
    for arrow in imports(tree):
        package = module.partition(".")[0]
        inside = package != "adapters" and arrow.partition(".")[0] == package
        assert inside or any(arrow == name or arrow.startswith(f"{name}.") for name in allowed), f"{module} -> {arrow}"
    for lower, upper in TYPES_ONLY:
        if module == lower:
            only = set().union(*(imports(node) for node in under_type_checking(tree)))
            assert upper in only, f"{module} -> {upper} shall be for types only"
            for node in under_type_checking(tree):
                tree.body.remove(node)
            assert upper not in imports(tree), f"{module} -> {upper} shall be for types only"


@pytest.mark.parametrize("path", [p for p in MODULES if "adapters" in p.parts], ids=name_of)
def test_adapters_import_nothing_heavy(path):
    """An adapter imports neither OpenTelemetry nor the library that it describes, at module level."""
    tree = ast.parse(path.read_text())
    roots = set()
    for node in tree.body:
        if isinstance(node, ast.Import):
            roots |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            roots.add(node.module.split(".")[0])
    assert roots <= set(sys.stdlib_module_names) | {"otel_tools"}


def test_only_telemetry_and_recordings_write_opentelemetry_data():
    """Spans, metrics and log records are made in one place."""
    for path in MODULES:
        module = name_of(path)
        text = path.read_text()
        if not module.startswith(("telemetry", "recordings", "adoption", "demo", "cli")):
            assert "opentelemetry.trace" not in text.replace("from opentelemetry.trace import TracerProvider", ""), (
                module
            )
            assert "get_meter" not in text, module


def functions():
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                docstring = ast.get_docstring(node)
                lines = node.end_lineno - node.lineno + 1 - (len(docstring.splitlines()) if docstring else 0)
                yield f"{name_of(path)}.{node.name}", lines


def test_sizes():
    """Functions are short (median <= 8, p90 <= 25, none over 40 lines), files at most 300 lines, adapters 150."""
    lengths = dict(functions())
    assert statistics.median(lengths.values()) <= 8
    assert statistics.quantiles(lengths.values(), n=10)[-1] <= 25
    assert {name: lines for name, lines in lengths.items() if lines > 40} == {}
    for path in MODULES:
        lines = len(path.read_text().splitlines())
        assert lines <= (150 if "adapters" in path.parts else 300), f"{name_of(path)}: {lines} lines"


def test_public_surface():
    """`__all__` is what can be seen, sorted, and documented."""
    visible = {name for name in vars(otel_tools) if not name.startswith("_")}
    submodules = {name_of(path).split(".")[0] for path in MODULES}
    assert set(otel_tools.__all__) == visible - submodules | {"__version__", "session"}
    assert otel_tools.__all__ == sorted(otel_tools.__all__)
    for name in otel_tools.__all__:
        if name != "__version__":
            assert getattr(otel_tools, name).__doc__, name


def test_importing_starts_nothing():
    """Importing and instrumenting imports no client library, no price table, no YAML, and starts no thread."""
    program = (
        "import sys, threading, otel_tools.auto\n"
        "heavy = {'openai', 'anthropic', 'google.genai', 'langchain_core', 'langgraph', 'mcp', 'agents', 'httpx',"
        " 'httpx2', 'pydantic', 'genai_prices', 'rich', 'click', 'yaml', 'grpc', 'requests'}\n"
        "print(sorted(heavy & set(sys.modules)), threading.active_count())"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[] 1"


@pytest.mark.parametrize("path", sorted(Path(__file__).parent.rglob("test_*.py")), ids=lambda path: path.stem)
def test_every_test_says_what_it_shows(path):
    """Each test has a docstring of one sentence or more."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node.name.startswith("test_"):
            assert ast.get_docstring(node), f"{path.name}: {node.name}"
