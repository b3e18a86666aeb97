"""What tfembed imports is declared, and what is declared is pinned to a version that was tested."""

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

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


@pytest.mark.parametrize(
    ("name", "version", "reason"),
    [
        ("keras-nlp", "0.29.1", "it has no preset of the default encoder"),
        ("keras", "3.14.1", "KerasHub 0.30 needs 3.15"),
        ("click", "8.1.8", "it has no NoArgsIsHelpError"),
        ("scikit-learn", "1.8.0", "its LogisticRegressionCV fails without a refit"),
        ("setuptools", "82.0.0", "it has no pkg_resources"),
        ("sentencepiece", "0.2.3", "it refuses protobuf 6"),
        ("protobuf", "7.36.2", "Apache Beam refuses it"),
    ],
)
def test_versions_that_fail_are_not_allowed(name: str, version: str, reason: str) -> None:
    """A version that was seen to fail is outside of the bounds."""
    assert not REQUIRED[canonicalize_name(name)].specifier.contains(version), reason


def test_extras_have_protobuf_in_common() -> None:
    """The newest protobuf that tfembed allows is allowed by all that any extra needs, so that none takes it back."""
    bound = REQUIRED["protobuf"].specifier
    newest = max(filter(bound.contains, ("5.29.5", "6.33.6", "7.36.2", "8.0.0")), key=Version)
    needs = {
        owner: need
        for extra in ("serve", "index", "bulk")
        for owner in _with_what_it_needs({*REQUIRED, *EXTRAS[extra]})
        for need in _needs(owner)
        if need.name == "protobuf"
    }
    assert {"apache-beam", "grpcio-health-checking", "pymilvus"} <= set(needs)
    assert {owner: str(need) for owner, need in needs.items() if not need.specifier.contains(newest)} == {}


def _with_what_it_needs(names: set[str]) -> set[str]:
    """Installed distributions, and those that they need."""
    reached: set[str] = set()
    while new := names - reached:
        reached |= new
        names = {canonicalize_name(need.name) for owner in new for need in _needs(owner)}
    return reached


def _needs(distribution: str) -> Iterator[Requirement]:
    """What an installed distribution needs here, without its extras; nothing where it is not installed."""
    try:
        lines = metadata.requires(distribution) or []
    except metadata.PackageNotFoundError:
        return
    for requirement in map(Requirement, lines):
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            yield requirement
