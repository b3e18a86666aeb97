"""Plant small faults in a module, one at a time, and see which of them no test notices.

    python scripts/mutate.py tfembed/optimizers.py [--sample 60] [--seed 0]

Needs cosmic-ray, whose operators make the faults; `mutation.toml` names the tests of each module, and the faults that
change nothing that can be seen. TensorFlow takes seconds to import, so it is imported once, and each fault is tried in
a fork of that process: the module's file is never changed.
"""

import argparse
import ast
import importlib
import os
import random
import re
import signal
import sys
import time
import tomllib
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.machinery import SourceFileLoader
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
CONFIG = ROOT / "mutation.toml"
# Imported before the first fork; no op may have been run by then, so that nothing of tfembed is among them.
_PRELOADED = (
    *("tensorflow", "keras", "keras_hub", "keras_tuner", "sklearn.linear_model", "sklearn.metrics", "sklearn.manifold"),
    *("sklearn.model_selection", "sklearn.datasets", "sklearn.neighbors", "scipy.stats", "scipy.optimize", "pyarrow"),
    *("pyarrow.parquet", "PIL.Image", "pytest", "rich.table", "safetensors.numpy", "tensorflow_text"),
)
# Of the replacements of an operator, the one that is nearest to what somebody might have written.
_OPERATORS = re.compile(
    "AddNot|NumberReplacer|ReplaceAndWithOr|ReplaceOrWithAnd|ReplaceTrueWithFalse|ReplaceFalseWithTrue|Continue|"
    "ZeroIterationForLoop|ReplaceUnaryOperator_Delete|ReplaceUnaryOperator_USub_UAdd|ExceptionReplacer|"
    "ReplaceBinaryOperator_(Add_Sub|Sub_Add|Mul_Div|Div_Mul|FloorDiv_Mul|Mod_FloorDiv|Pow_Mul|BitAnd_BitOr)|"
    "ReplaceComparisonOperator_(Lt_LtE|LtE_Lt|Gt_GtE|GtE_Gt|Eq_NotEq|NotEq_Eq|Is_IsNot|IsNot_Is|In_NotIn|NotIn_In)$"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutant:
    """A module with one fault.

    Attributes:
        line: Number of the first line that differs.
        before: That line as it is, without its indent.
        after: The line in its place; empty where it is gone.
        source: The whole module.
    """

    line: int
    before: str
    after: str
    source: str


def make_mutants(source: str) -> list[Mutant]:
    """All faults of a module, in the order of its lines; none in annotations and options of dataclasses."""
    skipped = set(_declaration_lines(ast.parse(source)))
    sources = dict.fromkeys([*_by_cosmic_ray(source), *_without_keywords(source), *_without_statements(source)])
    mutants = [mutant for text in sources if (mutant := _compare(source, text)) is not None]
    return sorted((m for m in mutants if m.line not in skipped), key=lambda m: (m.line, m.after))


def run_mutant(path: Path, source: str, tests: Sequence[str], timeout: float) -> tuple[str, float]:
    """Run tests in a fork where a module has another source.

    Args:
        path: Of the module.
        source: What is imported in its place.
        tests: Arguments of pytest.
        timeout: Seconds after which the fork is ended; a fault may wait forever.

    Returns:
        `"killed"`, `"survived"` or `"timeout"`, and the seconds that it took.
    """
    started, child = time.perf_counter(), os.fork()
    if child == 0:
        os.setsid()
        _become(path, source, tests)
    while time.perf_counter() - started < timeout:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            code = os.waitstatus_to_exitcode(status)
            if code == 5:
                raise ValueError(f"pytest found no tests in {' '.join(tests)}: mend {CONFIG.name}.")
            return "survived" if code == 0 else "killed", time.perf_counter() - started
        time.sleep(0.02)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return "timeout", timeout


def preload() -> None:
    """Import what takes long; what is imported must not wait for threads, which a fork does not have."""
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"  # the tests need none, and each takes time in every fork
    for name in _PRELOADED:
        importlib.import_module(name)


def _become(path: Path, source: str, tests: Sequence[str]) -> None:
    """In the fork: run pytest with the module's other source, and end."""
    import pytest

    plain = SourceFileLoader.get_code

    def get_code(loader: Any, name: str) -> Any:
        return compile(source, str(path), "exec") if Path(loader.path) == path else plain(loader, name)

    SourceFileLoader.get_code = get_code  # type: ignore[method-assign]
    output = os.open(os.environ.get("MUTATION_LOG", os.devnull), os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(output, 1)
    os.dup2(output, 2)
    code = 3
    try:  # what pytest rewrites for its assertions it reads itself, and would be the module without the fault
        code = int(pytest.main(["-x", "-q", "-p", "no:cacheprovider", "--assert=plain", "--durations=0", *tests]))
    finally:
        sys.stdout.flush()
        os._exit(code)


def _by_cosmic_ray(source: str) -> Iterator[str]:
    import parso  # noqa: F401 - cosmic-ray imports one of its modules before it, which fails
    from cosmic_ray.ast import ast_nodes, get_ast
    from cosmic_ray.mutating import mutate_code
    from cosmic_ray.plugins import get_operator, operator_names

    for name in filter(_OPERATORS.search, operator_names()):
        operator = get_operator(name)()
        count = sum(len(list(operator.mutation_positions(node))) for node in ast_nodes(get_ast(source)))
        for i in range(count):
            with suppress(AttributeError):  # cosmic-ray cannot replace exceptions with a dot in their name
                if text := mutate_code(source, operator, i):
                    yield text


def _without_keywords(source: str) -> Iterator[str]:
    """A call without one of its keywords: what is passed on is forgotten."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call):
            yield from (_cut(source, keyword) for keyword in node.keywords if keyword.arg is not None)


def _without_statements(source: str) -> Iterator[str]:
    """A function without one of its calls, or of its assignments to what is there already."""
    for node in ast.walk(ast.parse(source)):
        is_call = isinstance(node, ast.Expr) and isinstance(node.value, ast.Call | ast.Await)
        if is_call or isinstance(node, ast.AugAssign):
            yield _cut(source, node, "pass")


def _cut(source: str, node: Any, instead: str = "") -> str:
    """A source without a piece; of a keyword, without the comma behind it."""
    lines = source.splitlines(keepends=True)
    starts = [0]
    for line in lines:
        starts.append(starts[-1] + len(line.encode()))
    encoded = source.encode()
    start, stop = (
        starts[n - 1] + c for n, c in ((node.lineno, node.col_offset), (node.end_lineno, node.end_col_offset))
    )
    rest = encoded[stop:].decode()
    return encoded[:start].decode() + instead + (rest if instead else re.sub(r"^\s*,[ ]*", "", rest))


def _declaration_lines(tree: ast.AST) -> Iterator[int]:
    """The lines of signatures, of decorators of classes, and of annotated names without a value."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            yield from range(node.lineno, node.body[0].lineno)
        if isinstance(node, ast.ClassDef):
            yield from range(min(each.lineno for each in (*node.decorator_list, node)), node.lineno)
        if isinstance(node, ast.AnnAssign) and node.value is None:
            yield node.lineno


def _compare(source: str, mutated: str) -> Mutant | None:
    """The first line that differs; None where none does, or what came of it is no Python."""
    try:
        ast.parse(mutated)
    except SyntaxError:
        return None
    lines, others = source.splitlines(), mutated.splitlines()
    line = next((i for i, (a, b) in enumerate(zip(lines, others, strict=False)) if a != b), None)
    if line is None or ast.dump(ast.parse(source)) == ast.dump(ast.parse(mutated)):
        return None
    return Mutant(line=line + 1, before=lines[line].strip(), after=others[line].strip(), source=mutated)


def _run(path: Path, settings: dict[str, Any], mutants: list[Mutant]) -> None:
    """Try the faults, and print those that no test notices, and a row of figures."""
    tests, source = settings["tests"], path.read_text(encoding="utf-8")
    outcome, seconds = run_mutant(path, source, tests, 600)
    if outcome != "survived":
        raise ValueError(f"The tests of {path.name} fail without a fault: run {' '.join(tests)} first.")
    print(f"{path.relative_to(ROOT)}: {len(mutants)} faults, {seconds:.1f} s each")
    counts = dict.fromkeys(("killed", "timeout", "equivalent", "survived"), 0)
    excused = {(each["before"], each["after"]) for each in settings.get("equivalent", [])}
    for mutant in mutants:
        outcome, _ = run_mutant(path, mutant.source, tests, 20 + 4 * seconds)
        if outcome == "survived" and (mutant.before, mutant.after) in excused:
            outcome = "equivalent"
        counts[outcome] += 1
        if outcome == "survived":
            print(f"  line {mutant.line}\n    - {mutant.before}\n    + {mutant.after}", flush=True)
    print(f"{path.relative_to(ROOT)}: {counts}", flush=True)


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line, and try the faults of each module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("modules", nargs="+", help="such as tfembed/optimizers.py; each stands in mutation.toml")
    parser.add_argument("--sample", type=int, help="how many faults of each are drawn; all without it")
    parser.add_argument("--seed", type=int, default=0, help="of the draw")
    given = parser.parse_args(arguments)
    config = tomllib.loads(CONFIG.read_text(encoding="utf-8"))
    os.chdir(ROOT)
    sys.path.insert(0, str(ROOT))
    preload()
    for name in given.modules:
        path = ROOT / name
        mutants = make_mutants(path.read_text(encoding="utf-8"))
        if given.sample is not None and given.sample < len(mutants):
            drawn = random.Random(given.seed).sample(range(len(mutants)), given.sample)
            mutants = [mutants[i] for i in sorted(drawn)]
        _run(path, config[name], mutants)


if __name__ == "__main__":
    main()
