"""The shape of the code: imports run one way, files stay short, and the library is silent."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Iterator

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "vasa_cli"
MAX_LINES = 400
# From the top down; what is named nowhere here is one of the parts.
LAYERS = {
    "cli": 5,
    "__main__": 6,
    "pipeline": 4,
    "marked_video": 4,
    "animate": 4,
    "dub": 4,
    "refilm": 4,
    "edit": 4,
    "batch": 4,
    "bench": 4,
    "training": 4,
    "control_trials": 4,
    "evaluate": 4,
    "evaluate_controls": 4,
    "evaluate_motion": 4,
    "evaluate_dub": 4,
    "evaluate_gaze": 4,
    "evaluate_watermark": 4,
    "compare": 4,
    "models": 2,
    "config": 1,
    "control_values": 1,
    "timeline": 1,
    "errors": 1,
}
PARTS = 3
SCRIPTS = {"vasa_cli.training.teacher"}  # runs by itself, under another interpreter
SILENT_CALLS = {"print", "exit", "quit", "sys.exit", "os._exit", "logging.basicConfig"}


def module_name(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def layer(module: str) -> int:
    return LAYERS.get(module.split(".")[1], PARTS)


def imports(module: str) -> Iterator[str]:
    """Modules of vasa that a module imports, in functions and under TYPE_CHECKING too."""
    for node in ast.walk(ast.parse(MODULES[module].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names if name.name in MODULES)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} imports relatively"
            for name in node.names:
                full = f"{node.module}.{name.name}"
                if full in MODULES:
                    yield full
                elif node.module in MODULES:
                    yield str(node.module)


def dotted(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


INNER = [module for module in MODULES if module != "vasa_cli"]


@pytest.mark.parametrize("module", INNER)
def test_imports_run_down_the_layers(module: str) -> None:
    for target in imports(module):
        if target != "vasa_cli":  # the version
            assert layer(target) <= layer(module), f"{module} imports {target} from above"


@pytest.mark.parametrize("module", INNER)
def test_training_is_imported_by_its_command_alone(module: str) -> None:
    # evaluate takes the judge of the decoder's training to measure with
    if module.startswith(("vasa_cli.training", "vasa_cli.cli.train", "vasa_cli.cli.evaluate")):
        return
    assert not [name for name in imports(module) if name.startswith("vasa_cli.training")]


def test_no_two_modules_import_each_other() -> None:
    graph = {module: set(imports(module)) - {"vasa_cli", module} for module in INNER}
    done: set[str] = set()

    def visit(module: str, above: tuple[str, ...]) -> None:
        assert module not in above, " -> ".join((*above, module))
        if module not in done:
            for target in graph[module]:
                visit(target, (*above, module))
            done.add(module)

    for module in graph:
        visit(module, ())


@pytest.mark.parametrize("module", MODULES)
def test_files_stay_short(module: str) -> None:
    n_lines = len(MODULES[module].read_text(encoding="utf-8").splitlines())
    assert n_lines <= MAX_LINES


@pytest.mark.parametrize("module", [name for name in INNER if name not in SCRIPTS])
def test_library_code_does_not_print_exit_or_set_up_logging(module: str) -> None:
    if module.startswith("vasa_cli.cli"):
        return
    for node in ast.walk(ast.parse(MODULES[module].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            assert dotted(node.func) not in SILENT_CALLS, f"{module}:{node.lineno}"
        if isinstance(node, ast.Raise) and node.exc is not None:
            raised = node.exc.func if isinstance(node.exc, ast.Call) else node.exc
            assert dotted(raised) != "SystemExit", f"{module}:{node.lineno}"


@pytest.mark.parametrize("module", MODULES)
def test_every_module_says_what_it_is_for(module: str) -> None:
    source = MODULES[module].read_text(encoding="utf-8")
    assert not source or ast.get_docstring(ast.parse(source))
