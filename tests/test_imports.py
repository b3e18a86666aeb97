"""Imports point one way, and what is slow or foreign is imported in few places."""

import ast
import importlib
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import tfembed
from tfembed.registration import LAYERS

PACKAGE = Path(tfembed.__file__).parent
SOURCES = {".".join(("tfembed", *p.relative_to(PACKAGE).with_suffix("").parts)): p for p in PACKAGE.rglob("*.py")}

# From the top to the bottom; a module may import from its own level and from those under it.
LEVELS = (
    ("__main__",),
    ("cli",),
    ("commands", "demo"),
    ("index", "bulk"),
    ("neighbour_head",),
    ("embeddings",),
    ("search", "report", "doctor", "doctor_check"),
    ("runs", "export"),
    ("train",),
    ("running", "validation", "batches", "supervised_contrastive", "optimizers"),
    ("calibration", "rejection"),
    ("predict", "features", "builders", "augmentation", "distribution", "neighbours"),
    ("strategies",),
    ("description",),  # what a strategy does to an encoder, in words
    ("intervals",),
    ("encoders", "head_layers", "solution", "phases", "data"),
    ("heads", "startup"),
    ("progress",),
    ("saved_model", "resources", "serving", "installed", "allocator", "registration", "spelling"),
    ("backend", "json_values"),
)
LEVEL_OF = {name: level for level, names in enumerate(LEVELS) for name in names}
FENCES = {
    "tensorflow_hub": {"tfembed.saved_model.handles"},
    "huggingface_hub": {"tfembed.encoders.repositories"},
    "kagglehub": {"tfembed.saved_model.kaggle"},
    "keras_tuner": {"tfembed.search.tuner"},
    "pymilvus": {"tfembed.index.client"},
    "milvus_lite": {"tfembed.index.client", "tfembed.index.collection"},
    "apache_beam": {"tfembed.bulk"},
    "uvicorn": {"tfembed.serving.server", "tfembed.serving.limits"},
    "starlette": {"tfembed.serving.app"},
    "requests": {"tfembed.serving.rest_client"},
}
VAGUE = {"utils", "util", "base", "common", "helpers", "misc"}


def _public_names() -> dict[str, str]:
    """From what `import tfembed` offers to the module that it comes from."""
    tree = ast.parse((PACKAGE / "__init__.pyi").read_text(encoding="utf-8"))
    statements = [node for node in tree.body if isinstance(node, ast.ImportFrom)]
    return {alias.name: f"tfembed.{node.module}" for node in statements for alias in node.names}


PUBLIC = _public_names()


def _imports(module: str) -> Iterator[str]:
    """Every module that a module of ours imports, wherever the statement stands; `te.name` counts as its module."""
    tree = ast.parse(SOURCES[module].read_text(encoding="utf-8"))
    package_aliases = set()
    for node in _without_type_checking(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name == "tfembed":
                    package_aliases.add(alias.asname or alias.name)
                else:
                    yield alias.name
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: write `from tfembed...`, not a relative import"
            for alias in node.names:
                longer = f"{node.module}.{alias.name}"
                inside = PUBLIC[alias.name] if node.module == "tfembed" and alias.name in PUBLIC else node.module
                yield longer if longer in SOURCES or f"{longer}.__init__" in SOURCES else str(inside)
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in package_aliases:
            yield PUBLIC[node.attr]


def _without_type_checking(tree: ast.AST) -> Iterator[ast.AST]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            continue
        yield node
        yield from _without_type_checking(node)


def _unit(module: str) -> str:
    """The file or folder right under tfembed/ that a module is in."""
    return module.split(".")[1]


def _own_imports(module: str) -> set[str]:
    return {name for name in _imports(module) if name.split(".")[0] == "tfembed" and name != "tfembed"}


OWN = sorted(name for name in SOURCES if name != "tfembed.__init__")


def test_every_module_has_a_level() -> None:
    """Each file and folder under tfembed/ stands in LEVELS: a new one is put where it belongs."""
    assert {_unit(name) for name in OWN} - set(LEVEL_OF) == set()


@pytest.mark.parametrize("module", OWN)
def test_imports_point_down(module: str) -> None:
    """No module imports from a level above its own."""
    level = LEVEL_OF[_unit(module)]
    upwards = {name for name in _own_imports(module) if LEVEL_OF[_unit(name)] < level}
    assert upwards == set(), f"{module} imports {sorted(upwards)}, which are above it"


def test_no_cycles() -> None:
    """Modules can be read in an order in which each needs only what was read before."""
    waiting = {module.removesuffix(".__init__"): _own_imports(module) for module in OWN}
    waiting = {module: names & set(waiting) - {module} for module, names in waiting.items()}
    while ready := [module for module, names in waiting.items() if not names & set(waiting)]:
        for module in ready:
            del waiting[module]
    assert waiting == {}


@pytest.mark.parametrize("package", FENCES)
def test_third_party_fences(package: str) -> None:
    """A package that may go away or change is imported in one module."""
    importers = {module for module in OWN if package in {name.split(".")[0] for name in _imports(module)}}
    assert importers <= FENCES[package]


def test_strategies_are_pure_python() -> None:
    """Strategies are values: to say one, neither TensorFlow nor Keras is imported."""
    code = "import sys, tfembed.strategies; print({'tensorflow', 'keras', 'numpy'} & set(sys.modules) or 'none')"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "none"


def test_the_check_of_exports_knows_nothing_of_tfembed() -> None:
    """What runs in the fresh process imports no module of ours."""
    assert _own_imports("tfembed.export.fresh") == set()


def test_serving_imports_nothing_that_trains() -> None:
    """The server imports of tfembed only what lies in its own folder."""
    imported = set().union(*(_own_imports(name) for name in OWN if _unit(name) == "serving"))
    assert {name for name in imported if _unit(name) != "serving"} == set()


def test_no_module_has_a_vague_name() -> None:
    """A module is named after the noun that it is about."""
    assert {name for name in OWN if name.rsplit(".", 1)[-1] in VAGUE} == set()


def test_public_names_exist() -> None:
    """What __init__.pyi lists can be had from the package, and __all__ lists the same."""
    assert set(tfembed.__all__) == set(PUBLIC)
    assert [name for name in PUBLIC if not hasattr(tfembed, name)] == []


@pytest.mark.parametrize("name", sorted(name for name, module in PUBLIC.items() if module == f"tfembed.{name}"))
def test_a_function_hides_the_module_of_its_name(name: str) -> None:
    """`tfembed.train` is the function, also after something imported the module tfembed.train."""
    module = importlib.import_module(f"tfembed.{name}")
    assert getattr(tfembed, name) is getattr(module, name)


def test_help_does_not_wait_for_tensorflow() -> None:
    """Importing the package and its command line, and asking for help, imports neither TensorFlow nor Keras."""
    program = (
        "import sys, tfembed, tfembed.cli\n"
        "sys.argv = ['tfembed', '--help']\n"
        "tfembed.cli.main()\n"
        "print({'tensorflow', 'keras', 'numpy'} & set(sys.modules))\n"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert run.stdout.splitlines()[-1] == "set()"
    assert run.stdout.startswith("Usage:")


def test_layers_in_files_are_known_by_name() -> None:
    """Every layer that Keras should find in a file has its module in the table, which loads nothing of itself."""
    pattern = re.compile(r"^@keras\.saving\.register_keras_serializable\(.*\)\nclass (\w+)", re.MULTILINE)
    found = {
        name: module for module, path in SOURCES.items() for name in pattern.findall(path.read_text(encoding="utf-8"))
    }
    assert found == LAYERS
