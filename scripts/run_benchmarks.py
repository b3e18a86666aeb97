"""Run benchmarks, keep what they print: python scripts/run_benchmarks.py [--shared FOLDER] [NAME ...] [-- OPTION ...].

Without a name every benchmark is run, one after the other. What one prints becomes its section of
benchmarks/RESULTS.md, with the machine, the versions, the commit and the command; the other sections stay. One that
fails, that is skipped for want of FOLDER, or run with `-- --quick`, leaves its section as it is. What stands behind
`--` goes to the benchmark.
"""

import argparse
import datetime
import os
import re
import subprocess
import sys
from pathlib import Path

from tfembed.doctor_check import look
from tfembed.installed import installed

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "benchmarks"
RESULTS = FOLDER / "RESULTS.md"
BEGINNING = """# Results

What the benchmarks printed, each run by `make bench` or `python scripts/run_benchmarks.py NAME`, which write this file.
Ratios are taken within one run. FOLDER holds modules and data that are not part of the repository.
"""


def run(path: Path, options: list[str], shared: Path | None) -> str:
    """Run a benchmark, show what it prints and return it; raises CalledProcessError where it fails."""
    command = [sys.executable, str(path), *(["--shared", str(shared)] if shared else []), *options]
    environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3", "COLUMNS": "120"}
    lines = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment, cwd=ROOT) as process:
        assert process.stdout is not None
        for line in process.stdout:
            print(line, end="", flush=True)
            lines.append(line.rstrip())
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    return "\n".join(lines).strip("\n")


def section(path: Path, options: list[str], printed: str, shared: Path | None) -> str:
    """What RESULTS.md has about a benchmark."""
    given = " ".join([*(["--shared FOLDER"] if shared else []), *options])
    printed = "\n".join(line for line in printed.split("\n") if not line.startswith("command: "))
    if shared:
        printed = printed.replace(str(shared), "FOLDER")
    command = f"$ python benchmarks/{path.name} {given}".rstrip()
    return f"## {path.name}\n\n{machine()}.\n\n```\n{command}\n{printed}\n```\n"


def machine() -> str:
    """Day, commit, machine and versions, in one line."""
    found, versions = look(), installed()
    cpu = found["cpu"]
    parts = [
        datetime.date.today().isoformat(),
        f"commit {commit()}",
        f"{cpu['name']}, {cpu['cores']} cores ({' '.join(cpu['features'])})",
        *(device["name"] for device in found.get("devices", ())),
        f"{(found['memory'] or 0) / 2**30:.0f} GiB",
        f"Python {sys.version.split()[0]}",
        *(f"{name} {versions[name]}" for name in ("tensorflow", "keras", "keras-hub", "keras-tuner")),
    ]
    return "; ".join(parts)


def commit() -> str:
    """The commit that is measured, and whether anything else than the results was changed since."""

    def git(*arguments: str) -> str:
        return subprocess.run(["git", *arguments], capture_output=True, text=True, cwd=ROOT).stdout.strip()

    changed = git("status", "--porcelain", "--", ".", f":!{RESULTS.relative_to(ROOT)}")
    return (git("rev-parse", "--short", "HEAD") or "unknown") + (" with changes" if changed else "")


def keep(name: str, text: str, file: Path = RESULTS) -> None:
    """Put a section in its place: sections are in alphabetical order."""
    old = file.read_text(encoding="utf-8") if file.exists() else ""
    sections = {re.match(r"## (\S+)", each)[1]: each for each in re.split(r"^(?=## )", old, flags=re.MULTILINE)[1:]}  # type: ignore[index]
    sections[name] = text
    whole = "\n".join([BEGINNING, *(sections[each].rstrip("\n") + "\n" for each in sorted(sections))])
    aside = file.with_suffix(".part")
    aside.write_text(whole, encoding="utf-8")
    aside.replace(file)


def find(names: list[str]) -> list[Path]:
    """The benchmarks of these names, with or without folder and suffix; all of them without a name."""
    paths = sorted(FOLDER.glob("*.py"))
    known = [path.stem for path in paths]
    if unknown := sorted({Path(name).stem for name in names} - set(known)):
        sys.exit(f"There is no benchmark {', '.join(unknown)}: pass some of {', '.join(known)}.")
    if not paths:
        sys.exit(f"There are no benchmarks in {FOLDER}: expected at least one.")
    return [path for path in paths if not names or path.stem in {Path(name).stem for name in names}]


def main(arguments: list[str]) -> None:
    given = arguments[: arguments.index("--")] if "--" in arguments else arguments
    options = arguments[len(given) + 1 :]
    parser = argparse.ArgumentParser(description="Run benchmarks and keep what they print in benchmarks/RESULTS.md.")
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--shared", type=Path, default=os.environ.get("TFEMBED_SHARED"), help="real modules and data")
    known = parser.parse_args(given)
    failed = []
    for path in find(known.names):
        print(f"== {path.name}", flush=True)
        try:
            printed = run(path, options, known.shared)
        except subprocess.CalledProcessError as error:
            failed.append(path.name)
            print(f"{path.name} failed: exit code {error.returncode}; its section stays as it is", flush=True)
            continue
        if not printed.startswith("skipped: ") and "--quick" not in options:
            keep(path.name, section(path, options, printed, known.shared))
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main(sys.argv[1:])
