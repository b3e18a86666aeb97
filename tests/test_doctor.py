"""`tfembed doctor`: what fits is said to, and what does not is named, with what to do."""

import json
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from tensorflow.core.protobuf import saved_model_pb2

from tfembed import doctor, doctor_check
from tfembed.cli import cli, main
from tfembed.encoders import keras_hub

MACHINE: dict[str, Any] = {
    "imports": {"tensorflow": None, "tensorflow_text": None},
    "cpu": {"name": "a CPU", "cores": 4, "features": ["avx2", "amx_bf16"]},
    "memory": 16_000_000_000,
    "devices": [{"name": "a GPU", "compute_capability": "9.0", "memory": 80_000_000_000, "free": None}],
    "bfloat16": True,
    "xla": None,
}


@pytest.fixture
def versions(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Versions that override the installed ones; an empty one is not installed."""
    given: dict[str, str] = {}
    real = metadata.version

    def version(name: str) -> str:
        if given.get(name) == "":
            raise metadata.PackageNotFoundError(name)
        return given.get(name) or real(name)

    needs = ["tensorflow<2.22,>=2.20", "tensorflow-text<2.22,>=2.20", "setuptools<82", "pytest>=8; extra == 'dev'"]
    monkeypatch.setenv("KERAS_BACKEND", "tensorflow")  # the command sets it
    monkeypatch.setattr(metadata, "version", version)
    monkeypatch.setattr(metadata, "requires", lambda name: needs)
    monkeypatch.setattr(doctor, "look_at_machine", lambda: MACHINE)
    return given


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["doctor", *arguments])


def test_all_is_well(versions: dict[str, str], feature_folder: Path) -> None:
    """Versions, devices with memory, CPU, bfloat16, XLA and cache are listed, with exit code 0."""
    shown = run()
    assert shown.exit_code == 0
    lines = {line.split("  ")[0]: line for line in shown.stdout.splitlines()}
    for name in ("python", "tensorflow", "tensorflow-text", "keras", "keras-hub", "keras-nlp", "keras-tuner"):
        assert lines[name].split()[-1].count(".") >= 1
    assert "a CPU, 4 cores; avx2 amx_bf16" in shown.stdout
    assert "a GPU, compute capability 9.0; 80.0 GB, unknown free" in shown.stdout
    assert lines["bfloat16"].endswith("in hardware")
    assert lines["XLA"].endswith("compiles")
    assert f"{feature_folder}: " in shown.stdout
    assert shown.stdout.endswith("all of it fits together\n")


@pytest.mark.parametrize(
    ("given", "what", "todo"),
    [
        (
            {"tensorflow": "2.21.0", "tensorflow-text": "2.20.1"},
            "tensorflow-text 2.20.1 does not fit tensorflow 2.21.0: expected 2.21.*",
            'pip install "tensorflow-text==2.21.*"',
        ),
        (
            {"keras-hub": "0.25.1", "keras-nlp": "0.25.0"},
            "keras-nlp 0.25.0 does not fit keras-hub 0.25.1: expected 0.25.1",
            'pip install "keras-nlp==0.25.1"',
        ),
        ({"setuptools": "82.0.0"}, "setuptools 82.0.0: expected <82", 'pip install "setuptools<82"'),
        (
            {"tensorflow-text": ""},
            "tensorflow-text is not installed: expected <2.22,>=2.20",
            'pip install "tensorflow-text<2.22,>=2.20"',
        ),
    ],
)
def test_what_does_not_fit(versions: dict[str, str], given: dict[str, str], what: str, todo: str) -> None:
    """It is named with its version and what was expected, and what to type; exit code 1."""
    versions.update(given)
    shown = run()
    assert shown.exit_code == 1
    assert f"does not fit: {what}\n  try: {todo}\n" in shown.stdout
    found = json.loads(run("--json").stdout)
    assert found["findings"] == [{"what": what, "todo": todo}]


def test_the_command_line_exits_with_the_code(versions: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A process of `tfembed doctor` ends with 1 where something does not fit, for a script to notice."""
    versions["setuptools"] = "82.0.0"
    monkeypatch.setattr(sys, "argv", ["tfembed", "doctor"])
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 1


def test_tensorflow_may_be_the_one_for_cpus(versions: dict[str, str]) -> None:
    """tensorflow-cpu brings the same package: it counts as tensorflow."""
    versions.update({"tensorflow": "", "tensorflow-cpu": "2.21.0", "tensorflow-text": "2.21.1"})
    shown = run()
    assert shown.exit_code == 0, shown.stdout
    assert "tensorflow       2.21.0\n" in shown.stdout


def test_another_backend_of_keras_is_a_finding(versions: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The doctor itself runs, says that TensorFlow's backend is needed, and how to set it."""
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    monkeypatch.setitem(sys.modules, "keras", None)  # not imported yet
    shown = run()
    assert shown.exit_code == 1
    assert "does not fit: tfembed needs the TensorFlow backend\n  try: unset KERAS_BACKEND." in shown.stdout


@pytest.mark.parametrize(
    ("encoder", "line", "code"),
    [
        ({"dim": 384, "error": None}, "minilm           works: 384 numbers per text\n", 0),
        ({"dim": None, "error": None}, "without a network: tfembed encoders --install minilm\n", 0),
        (
            {"dim": None, "error": "KerasHub has no preset all_minilm_l6_v2_en"},
            "does not fit: encoder minilm does not work: KerasHub has no preset all_minilm_l6_v2_en\n"
            "  try: tfembed encoders --install minilm\n",
            1,
        ),
    ],
)
def test_the_default_encoder_is_tried(
    versions: dict[str, str], monkeypatch: pytest.MonkeyPatch, encoder: dict[str, Any], line: str, code: int
) -> None:
    """It works, has yet to be downloaded, or fails: which is said, with what to do."""
    monkeypatch.setattr(doctor, "look_at_machine", lambda: MACHINE | {"encoder": {"name": "minilm"} | encoder})
    shown = run()
    assert (shown.exit_code, line in shown.stdout) == (code, True), shown.stdout


def test_a_version_without_the_preset_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the package of MiniLM is not installed, and KerasHub does not know the preset, the encoder is in error."""
    monkeypatch.setattr(keras_hub, "is_local", lambda preset: False)
    assert doctor_check._encoder() == {"name": "minilm", "dim": None, "error": None}
    monkeypatch.setattr(keras_hub, "is_preset", lambda name: False)
    assert doctor_check._encoder()["error"] == "KerasHub has no preset all_minilm_l6_v2_en"


def test_what_cannot_be_imported(versions: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A package that is installed and broken is found by importing it."""
    broken = MACHINE | {"imports": {"tensorflow": None, "tensorflow_text": "NotFoundError: undefined symbol"}}
    monkeypatch.setattr(doctor, "look_at_machine", lambda: broken)
    shown = run()
    assert shown.exit_code == 1
    assert "tensorflow_text cannot be imported: NotFoundError: undefined symbol" in shown.stdout
    assert "try: pip install --force-reinstall tensorflow-text" in shown.stdout


@pytest.mark.parametrize(
    ("program", "expected"),
    [("import os; os.abort()", "ended with -6"), ("print('no JSON')", "ended with 0")],
)
def test_a_process_that_dies_is_a_finding(
    program: str, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Libraries that do not fit may end the process: it is another one, and the doctor says that it ended."""
    (tmp_path / "doctor_check.py").write_text(program, encoding="utf-8")
    monkeypatch.setattr(doctor, "__file__", str(tmp_path / "doctor.py"))
    assert expected in doctor.look_at_machine()["imports"]["tensorflow"]


def test_it_needs_no_tensorflow_itself() -> None:
    """In a process in which TensorFlow and its kin cannot be imported, the doctor still works, and says so."""
    program = (
        "import json, sys\n"
        "for name in ('tensorflow', 'tensorflow_text', 'keras', 'keras_hub', 'keras_tuner', 'tensorflow_hub'):\n"
        "    sys.modules[name] = None\n"
        "from tfembed.doctor import examine\n"
        "from tfembed.doctor_check import look\n"
        "print(json.dumps(examine(look).to_dict()))\n"
    )
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    examined = json.loads(found.stdout)
    assert [each["what"].split(":")[0] for each in examined["findings"]][:2] == [
        "tensorflow cannot be imported",
        "tensorflow_text cannot be imported",
    ]
    assert "devices" not in examined["machine"]
    assert examined["machine"]["cpu"]["cores"] >= 1
    assert examined["versions"]["tensorflow"] is not None


def test_a_fresh_process_looks_at_this_machine() -> None:
    """What is installed here fits, and the machine has a CPU and memory; XLA compiles."""
    found = doctor.look_at_machine()
    assert set(found["imports"]) == set(doctor_check.IMPORTS)
    assert [error for error in found["imports"].values() if error] == []
    assert found["memory"] > 100_000_000
    assert found["xla"] is None
    assert found["encoder"] == {"name": "minilm", "dim": 384, "error": None}
    assert found["bfloat16"] in (True, False)


def test_the_drivers_memory_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each visible device has its own memory, in all and free, in the order in which it is made visible."""
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\necho '81559, 81000'\necho '40960, 100'\n", encoding="utf-8")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert [each["total"] // 2**20 for each in doctor_check._driver_memory()] == [81559, 40960]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    assert doctor_check._driver_memory() == [{"total": 40960 * 2**20, "free": 100 * 2**20}]


def _write_graph(folder: Path, *ops: str) -> Path:
    saved = saved_model_pb2.SavedModel()
    listed = saved.meta_graphs.add().meta_info_def.stripped_op_list
    for name in ops:
        listed.op.add().name = name
    folder.mkdir(parents=True)
    (folder / "saved_model.pb").write_bytes(saved.SerializeToString())
    return folder


def test_exports_that_cannot_be_served_are_named(versions: dict[str, str], tmp_path: Path) -> None:
    """Of a base path the highest version is looked at; what a version of TF Serving lacks is named, exit code 1."""
    _write_graph(tmp_path / "base" / "1", "PyFunc")
    _write_graph(tmp_path / "base" / "2", "MatMul", "DecodeJxl")
    assert run(str(tmp_path / "base"), "--serving", "2.21").exit_code == 0
    shown = run(str(tmp_path / "base"), "--serving", "2.20")
    assert shown.exit_code == 1
    assert f"{tmp_path / 'base' / '2'} needs DecodeJxl, which TensorFlow Serving 2.20 does not have" in shown.stdout
    assert "PyFunc" in run(str(tmp_path / "base" / "1")).stdout


def test_an_unknown_version_of_serving_is_refused(versions: dict[str, str]) -> None:
    """The versions that are known are listed."""
    with pytest.raises(ValueError, match=r"Unknown version '1\.0' of TensorFlow Serving: pass one of 2\.20"):
        CliRunner().invoke(cli, ["doctor", "--serving", "1.0"], catch_exceptions=False)
