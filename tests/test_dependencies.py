"""What tfembed imports is declared, and what is declared is pinned to a version that was tested."""

import ast
import re
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
REQUIRED = {canonicalize_name((r := Requirement(line)).name): r for line in PROJECT["dependencies"]}
EXTRAS = {
    extra: {canonicalize_name(Requirement(line).name) for line in lines}
    for extra, lines in PROJECT["optional-dependencies"].items()
}
OPTIONAL = [Requirement(line) for lines in PROJECT["optional-dependencies"].values() for line in lines]
PINNED = dict(re.findall(r"^([\w.-]+)==(\S+)$", (ROOT / "constraints.txt").read_text(encoding="utf-8"), re.MULTILINE))

# Where the name of the distribution is not that of the package.
DISTRIBUTION = {
    "PIL": "pillow",
    "sklearn": "scikit-learn",
    "keras_hub": "keras-nlp",
    "cpuinfo": "py-cpuinfo",
    "grpc": "grpcio",
    "grpc_health": "grpcio-health-checking",
    "google": "protobuf",
    "tensorflow_serving": "tensorflow-serving-api",
    "yaml": "pyyaml",
}


def _imported(source: Path) -> set[str]:
    """The packages of others that a file imports, wherever the statement stands."""
    nodes = list(ast.walk(ast.parse(source.read_text(encoding="utf-8"))))
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    names |= {str(node.module) for node in nodes if isinstance(node, ast.ImportFrom)}
    return {name.split(".")[0] for name in names} - sys.stdlib_module_names - {"tfembed"}


def test_imports_are_declared() -> None:
    """Every package that tfembed imports is among its dependencies, not merely brought along by another one."""
    package = ROOT / "tfembed"
    optional = {
        "serve": set((package / "serving").rglob("*.py")),
        "index": set((package / "index").rglob("*.py")),
        "bulk": {package / "bulk.py"},
    }
    files = set(package.rglob("*.py")).difference(*optional.values())
    imported = set().union(*map(_imported, files))
    assert {"tensorflow", "scipy"} <= imported, "the files of the package were not found"
    assert _undeclared(imported, set(REQUIRED)) == set()
    for extra, its_files in optional.items():
        assert _undeclared(set().union(*map(_imported, its_files)), {*REQUIRED, *EXTRAS[extra]}) == set()


def _undeclared(imported: set[str], declared: set[str]) -> set[str]:
    return {name for name in imported if canonicalize_name(DISTRIBUTION.get(name, name)) not in declared}


@pytest.mark.parametrize("requirement", [*REQUIRED.values(), *OPTIONAL], ids=lambda requirement: requirement.name)
def test_dependencies_are_pinned(requirement: Requirement) -> None:
    """constraints.txt pins every dependency to a version that pyproject.toml allows."""
    pins = {canonicalize_name(name): version for name, version in PINNED.items()}
    assert canonicalize_name(requirement.name) in pins
    assert requirement.specifier.contains(pins[canonicalize_name(requirement.name)])
