"""Install the wheel as a user does, without constraints.txt, and use it: python scripts/check_installation.py.

It is tried with the newest versions that pyproject.toml allows and with the lowest ones, where every lower bound has to
be the version that was installed; then with the newest Keras there is, allowed or not. Extras that are installed one
after the other have to share their versions. Takes a package index, about 6 GB of disk, and some minutes.
"""

import itertools
import os
import re
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[1]
COMMANDS = ("encoders --install minilm", "doctor", "train intents --few-shot 5")
EXTRAS = ("serve", "bulk", "index")
# What several extras need: an extra that is installed later must not move it from under an earlier one.
COMMON = ("protobuf", "grpcio-health-checking", "sentencepiece", "keras-hub", "tensorflow")


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        call("uv", "build", "--quiet", "--wheel", "--out-dir", work, ROOT)
        (wheel,) = work.glob("*.whl")
        check_extras()
        check_lower_bounds()
        lowest = work / "lowest.txt"
        lowest.write_text("\n".join(f"{name}=={version}" for name, version in resolve("lowest-direct").items()))
        newest = install(work / "newest", wheel)
        use(newest, "the newest versions")
        use(install(work / "lowest", wheel, "--constraint", lowest), "the lowest versions")
        use_newest_keras(newest)


def call(*command: object, **options: object) -> str:
    """The standard output of a command, or the end of the script with what it said."""
    words = [sys.executable, "-m", *map(str, command)] if command[0] == "uv" else list(map(str, command))
    run = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=False, **options)
    if run.returncode:
        sys.exit(f"{run.stdout}\nexit code {run.returncode} of: {' '.join(words)}")
    return run.stdout


def resolve(resolution: str, *extras: str) -> dict[str, str]:
    """The version of each package that an installation with these extras gets."""
    options = [f"--extra={extra}" for extra in extras]
    lines = call("uv", "pip", "compile", "--quiet", "--resolution", resolution, *options, ROOT / "pyproject.toml")
    return {canonicalize_name(name): version for name, version in re.findall(r"^([\w.-]+)==(\S+)", lines, re.MULTILINE)}


def check_extras() -> None:
    """Every subset of the extras gets the same versions of what several of them need."""
    seen: dict[str, dict[str, str]] = {name: {} for name in COMMON}
    for extras in (s for n in range(len(EXTRAS) + 1) for s in itertools.combinations(EXTRAS, n)):
        versions = resolve("highest", *extras)
        for name in COMMON:
            if name in versions:
                seen[name].setdefault(versions[name], ",".join(extras) or "no extra")
    apart = {name: versions for name, versions in seen.items() if len(versions) > 1}
    if apart:
        sys.exit(f"extras get different versions, so that one breaks the other: {apart}")
    print("every subset of the extras gets:", {name: next(iter(versions)) for name, versions in seen.items()})


def check_lower_bounds() -> None:
    """Each lower bound of pyproject.toml is a version that can be installed together with the others."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for extras in ((), *((extra,) for extra in EXTRAS)):
        versions = resolve("lowest-direct", *extras)
        lines = [line for extra in extras for line in project["optional-dependencies"][extra]]
        for requirement in map(Requirement, lines or project["dependencies"]):
            bounds = [each.version for each in requirement.specifier if each.operator in (">=", "==")]
            lowest = versions[canonicalize_name(requirement.name)]
            if not bounds or Version(bounds[0]) != Version(lowest):
                sys.exit(f"{requirement}: the lowest version that can be installed is {lowest}. Make it the bound.")


def install(folder: Path, wheel: Path, *options: object) -> Path:
    """An empty environment into which the wheel is installed."""
    call("uv", "venv", "--quiet", "--python", sys.executable, folder)
    call("uv", "pip", "install", "--quiet", "--python", folder, *options, wheel)
    return folder


def use(environment: Path, name: str, commands: tuple[str, ...] = COMMANDS) -> None:
    """Run the commands of a first contact, away from the project and without what earlier ones have cached."""
    print(f"--- with {name}", flush=True)
    tfembed = environment / "bin" / "tfembed"
    with tempfile.TemporaryDirectory() as home:
        left_out = ("KAGGLEHUB_CACHE", "KERAS_BACKEND", "KERAS_HOME", "PYTHONPATH", "TFEMBED_CACHE", "VIRTUAL_ENV")
        variables = {name: value for name, value in os.environ.items() if name not in left_out}
        path = os.pathsep.join((str(Path(sys.executable).parent), variables.get("PATH", "")))  # has uv
        options = {"cwd": home, "env": variables | {"HOME": home, "PATH": path}}
        for command in commands:
            print(call(tfembed, *command.split(), **options), flush=True)


def use_newest_keras(environment: Path) -> None:
    """Go on with the newest Keras there is, which pyproject.toml may not allow yet."""
    before = keras_of(environment)
    call("uv", "pip", "install", "--quiet", "--python", environment, "--upgrade", "--no-deps", "keras")
    version = keras_of(environment)
    if version == before:
        print(f"Keras {version} is the newest, and was tried with the newest versions")
        return
    # `tfembed doctor` would say that pyproject.toml does not allow it.
    use(environment, f"Keras {version}, the newest there is", COMMANDS[-1:])


def keras_of(environment: Path) -> str:
    versions = call("uv", "pip", "list", "--quiet", "--python", environment, "--format", "freeze")
    return re.findall(r"^keras==(\S+)", versions, re.MULTILINE)[0]


if __name__ == "__main__":
    main()
