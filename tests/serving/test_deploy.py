"""What `tfembed deploy` writes fits the schemas of those who read it, and TensorFlow Serving's own parsers."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from tensorflow_serving.config import model_server_config_pb2

from tfembed.serving.batching_options import read_options
from tfembed.serving.deploy import DeployOptions, compose, write_deployment
from tfembed.serving.kubernetes import resource_name
from tfembed.serving.model_config import read_configs
from tfembed.serving.protos import BatchingParameters, MonitoringConfig, read_text_proto

CHECK_MANIFEST = """
import json, sys, warnings
warnings.simplefilter("ignore")
import kubernetes_validate
for manifest in json.load(sys.stdin):
    kubernetes_validate.validate(manifest, sys.argv[1], strict=True)
"""


@pytest.fixture
def options(tmp_path: Path) -> DeployOptions:
    (tmp_path / "models" / "1").mkdir(parents=True)
    return DeployOptions(model_name="my_intents", base_path=tmp_path / "models")


@pytest.fixture
def written(options: DeployOptions, tmp_path: Path) -> Path:
    write_deployment(tmp_path / "out", options)
    return tmp_path / "out"


def check_manifests(manifests: list[Any], version: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", CHECK_MANIFEST, version]
    return subprocess.run(command, input=json.dumps(manifests), text=True, capture_output=True, check=False)


def check_compose(file: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(file)]
    return subprocess.run(command, text=True, capture_output=True, check=False)


def test_compose_fits_its_schema(written: Path, tmp_path: Path) -> None:
    """The compose file is one; the check would notice if it was not."""
    checked = check_compose(written / "compose.yaml")
    assert checked.returncode == 0, checked.stdout
    wrong = yaml.safe_load((written / "compose.yaml").read_text())
    wrong["services"]["serving"]["portz"] = []
    (tmp_path / "wrong.yaml").write_text(yaml.safe_dump(wrong))
    assert check_compose(tmp_path / "wrong.yaml").returncode != 0


def test_manifests_fit_their_schemas(written: Path) -> None:
    """So are the manifests."""
    manifests = list(yaml.safe_load_all((written / "kubernetes.yaml").read_text()))
    assert [each["kind"] for each in manifests] == [
        "ConfigMap",
        "PersistentVolumeClaim",
        "Deployment",
        "Service",
        "HorizontalPodAutoscaler",
        "PodDisruptionBudget",
    ]
    checked = check_manifests(manifests, "1.30")
    assert checked.returncode == 0, checked.stderr
    manifests[2]["spec"]["template"]["spec"]["containers"][0]["portz"] = []
    assert check_manifests(manifests, "1.30").returncode != 0


def test_parts_belong_together(written: Path, options: DeployOptions) -> None:
    """Names, ports, volumes and probes of the manifests point at one another."""
    by_kind = {each["kind"]: each for each in yaml.safe_load_all((written / "kubernetes.yaml").read_text())}
    pod = by_kind["Deployment"]["spec"]["template"]
    (container,) = pod["spec"]["containers"]
    assert {each["name"] for each in container["volumeMounts"]} == {each["name"] for each in pod["spec"]["volumes"]}
    ports = {each["name"]: each["containerPort"] for each in container["ports"]}
    assert all(each["port"] == ports[each["targetPort"]] for each in by_kind["Service"]["spec"]["ports"])
    assert container["readinessProbe"]["httpGet"] == {"path": "/v1/models/my_intents", "port": "http"}
    assert all(each["readOnly"] for each in container["volumeMounts"] if each["name"] != "tmp")
    labels = pod["metadata"]["labels"]
    for kind in ("Deployment", "PodDisruptionBudget"):
        assert by_kind[kind]["spec"]["selector"]["matchLabels"] == labels
    assert by_kind["Service"]["spec"]["selector"] == labels
    files = {flag.split("/config/")[1] for flag in container["args"] if "/config/" in flag}
    assert files == set(by_kind["ConfigMap"]["data"])
    assert (
        by_kind["HorizontalPodAutoscaler"]["spec"]["scaleTargetRef"]["name"]
        == by_kind["Deployment"]["metadata"]["name"]
    )


def test_the_server_reads_its_configuration(written: Path) -> None:
    """The files beside them are what the server's flags ask for."""
    message = read_text_proto(written / "config" / "models.config", model_server_config_pb2.ModelServerConfig())
    (config,) = read_configs(message)
    assert (config.name, str(config.base_path)) == ("my_intents", "/models/my_intents")
    batching = read_options(read_text_proto(written / "config" / "batching.config", BatchingParameters()))
    assert batching.max_batch_size == 32
    monitoring = read_text_proto(written / "config" / "monitoring.config", MonitoringConfig())
    assert monitoring.prometheus_config.enable
    mounted = yaml.safe_load((written / "compose.yaml").read_text())["services"]["serving"]["volumes"]
    assert all(each["read_only"] for each in mounted)


def test_nothing_is_overwritten(written: Path, options: DeployOptions) -> None:
    """A folder that exists is left alone, and nothing half-written stays behind."""
    with pytest.raises(ValueError, match="exists already"):
        write_deployment(written, options)
    assert not list(written.parent.glob(".incomplete*"))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"min_replicas": 3, "max_replicas": 2}, "Replicas from 3 to 2"),
        ({"max_batch_size": 0}, "max_batch_size must be 1 or more"),
        ({"model_name": 'a" }'}, "is no name of a model"),
        ({"model_name": "modèle"}, "is no name of a model"),
        ({"model_name": "-a"}, "is no name of a model"),
        ({"base_path": Path("nowhere")}, "nowhere is no folder"),
    ],
)
def test_wrong_options(options: DeployOptions, changed: dict[str, Any], message: str) -> None:
    """Values that make no deployment are named."""
    with pytest.raises(ValueError, match=message):
        replace(options, **changed)


def test_a_dollar_in_a_path(options: DeployOptions, tmp_path: Path) -> None:
    """Compose would put a variable of the environment in its place."""
    (tmp_path / "my$HOME" / "1").mkdir(parents=True)
    volume = compose(replace(options, base_path=tmp_path / "my$HOME"))["services"]["serving"]["volumes"][0]
    assert volume["source"] == f"{tmp_path}/my$$HOME"


def test_a_base_path_without_versions(options: DeployOptions) -> None:
    """A folder without versions is said to be that."""
    (options.base_path / "1").rmdir()
    with pytest.raises(ValueError, match="has no versions"):
        replace(options)


def test_names() -> None:
    """Names are those that Kubernetes takes, whatever the model is called."""
    assert resource_name("A_b" * 40).startswith("serving-a-ba-b")
    assert len(resource_name("x" * 100)) <= 50
