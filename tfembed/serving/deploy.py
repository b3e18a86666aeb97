"""Files that run TensorFlow Serving: a compose file and Kubernetes manifests, with their configuration."""

import os
import re
import shutil
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tfembed.serving.engine import IMAGE
from tfembed.serving.kubernetes import manifests
from tfembed.serving.metrics import PROMETHEUS_PATH

_NAME = re.compile(r"[a-zA-Z0-9][\w-]*", re.ASCII)  # also in the names of Kubernetes's objects
PROMETHEUS_IMAGE = "prom/prometheus:v3.5.0"
_FLAGS = (
    "--port=8500",
    "--rest_api_port=8501",
    "--model_config_file=/config/models.config",
    "--enable_batching=true",
    "--batching_parameters_file=/config/batching.config",
    "--monitoring_config_file=/config/monitoring.config",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeployOptions:
    """What is deployed.

    Attributes:
        model_name: As requests name it.
        base_path: The folder of its versions.
        image: Docker image of TensorFlow Serving.
        min_replicas: Servers that always run, in Kubernetes.
        max_replicas: Servers at most.
        max_batch_size: Examples that are run together.
    """

    model_name: str
    base_path: Path
    image: str = IMAGE
    min_replicas: int = 2
    max_replicas: int = 6
    max_batch_size: int = 32

    def __post_init__(self) -> None:
        """Check the values."""
        if not self.base_path.is_dir():
            raise ValueError(f"{self.base_path} is no folder. Pass the base path of a model's versions.")
        if not any(each.name.isdecimal() for each in self.base_path.iterdir()):
            raise ValueError(f"{self.base_path} has no versions: expected folders 1, 2, ... as an export makes them.")
        if not _NAME.fullmatch(self.model_name):
            raise ValueError(
                f"{self.model_name!r} is no name of a model: pass --model_name with letters of ASCII, digits, - and _ "
                "only, the first a letter or digit."
            )
        if not 1 <= self.min_replicas <= self.max_replicas:
            raise ValueError(
                f"Replicas from {self.min_replicas} to {self.max_replicas} are none: the least must be 1 or more, and "
                "not above the most."
            )
        if self.max_batch_size < 1:
            raise ValueError(f"max_batch_size must be 1 or more; was {self.max_batch_size}.")


def write_deployment(out: Path, options: DeployOptions) -> list[Path]:
    """Write a new folder with everything.

    Returns:
        The files.

    Raises:
        ValueError: If the folder exists already.
        OSError: If it cannot be written.
    """
    if out.exists():
        raise ValueError(f"{out} exists already: pass a folder that does not.")
    out.parent.mkdir(parents=True, exist_ok=True)
    configs = server_configs(options)
    content = {
        "compose.yaml": yaml.safe_dump(compose(options), sort_keys=False),
        "kubernetes.yaml": yaml.safe_dump_all(manifests(options, configs, _FLAGS), sort_keys=False),
        "prometheus.yaml": yaml.safe_dump(_prometheus(), sort_keys=False),
    } | {f"config/{name}": text for name, text in configs.items()}
    aside = out.with_name(f".incomplete-{uuid.uuid4().hex}")
    try:
        (aside / "config").mkdir(parents=True)
        for name, text in content.items():
            (aside / name).write_text(text, encoding="utf-8")
        os.rename(aside, out)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return [out / name for name in content]


def server_configs(options: DeployOptions) -> dict[str, str]:
    """The files that TensorFlow Serving's flags name, in its text format."""
    return {
        "models.config": (
            "model_config_list {\n  config {\n"
            f'    name: "{options.model_name}"\n    base_path: "/models/{options.model_name}"\n'
            '    model_platform: "tensorflow"\n  }\n}\n'
        ),
        "batching.config": (
            f"max_batch_size {{ value: {options.max_batch_size} }}\n"
            "batch_timeout_micros { value: 2000 }\nmax_enqueued_batches { value: 64 }\n"
            "pad_variable_length_inputs: true\n"
        ),
        "monitoring.config": f'prometheus_config {{ enable: true path: "{PROMETHEUS_PATH}" }}\n',
    }


def compose(options: DeployOptions) -> dict[str, Any]:
    """The compose file: TensorFlow Serving, and Prometheus under the profile `monitoring`."""
    return {
        "services": {
            "serving": {
                "image": options.image,
                "entrypoint": ["tensorflow_model_server"],
                "command": list(_FLAGS),
                "ports": ["127.0.0.1:8500:8500", "127.0.0.1:8501:8501"],
                "volumes": [
                    _mount(options.base_path, f"/models/{options.model_name}"),
                    _mount(Path("./config"), "/config"),
                ],
                "healthcheck": {
                    # The image has neither curl nor wget.
                    "test": [
                        "CMD",
                        "bash",
                        "-c",
                        f"exec 3<>/dev/tcp/127.0.0.1/8501 && printf 'GET /v1/models/{options.model_name} HTTP/1.0\\r\\n"
                        "\\r\\n' >&3 && grep -q AVAILABLE <&3",
                    ],
                    "interval": "10s",
                    "timeout": "5s",
                    "retries": 3,
                    "start_period": "60s",
                },
                "restart": "unless-stopped",
                "stop_grace_period": "30s",
                "read_only": True,
                "tmpfs": ["/tmp"],
            },
            "prometheus": {
                "image": PROMETHEUS_IMAGE,
                "profiles": ["monitoring"],
                "ports": ["127.0.0.1:9090:9090"],
                "volumes": [_mount(Path("./prometheus.yaml"), "/etc/prometheus/prometheus.yml")],
            },
        }
    }


def _mount(source: Path, target: str) -> dict[str, Any]:
    shown = str(source) if source.is_absolute() else f"./{source}"
    # Compose puts variables of the environment where it finds a single $.
    return {"type": "bind", "source": shown.replace("$", "$$"), "target": target, "read_only": True}


def _prometheus() -> dict[str, Any]:
    return {
        "scrape_configs": [
            {
                "job_name": "serving",
                "metrics_path": PROMETHEUS_PATH,
                "static_configs": [{"targets": ["serving:8501"]}],
            }
        ]
    }
