"""Kubernetes manifests of a deployment of TensorFlow Serving."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tfembed.serving.metrics import PROMETHEUS_PATH

if TYPE_CHECKING:
    from tfembed.serving.deploy import DeployOptions


def manifests(options: "DeployOptions", configs: dict[str, str], flags: Sequence[str]) -> list[dict[str, Any]]:
    """Everything that Kubernetes needs to serve a model.

    Args:
        options: What is deployed.
        configs: The server's configuration files by name.
        flags: Of the server.

    Returns:
        A ConfigMap, a claim for the volume of models, a Deployment, a Service, a HorizontalPodAutoscaler and a
        PodDisruptionBudget.
    """
    name = resource_name(options.model_name)
    labels = {"app.kubernetes.io/name": "tensorflow-serving", "app.kubernetes.io/instance": name}
    return [
        _resource("v1", "ConfigMap", name, labels) | {"data": dict(configs)},
        _resource("v1", "PersistentVolumeClaim", f"{name}-models", labels)
        | {"spec": {"accessModes": ["ReadOnlyMany"], "resources": {"requests": {"storage": "10Gi"}}}},
        _resource("apps/v1", "Deployment", name, labels) | {"spec": _deployment(options, name, labels, flags)},
        _service(name, labels),
        _resource("autoscaling/v2", "HorizontalPodAutoscaler", name, labels) | {"spec": _scaling(options, name)},
        _resource("policy/v1", "PodDisruptionBudget", name, labels)
        | {"spec": {"maxUnavailable": 1, "selector": {"matchLabels": labels}}},
    ]


def resource_name(model_name: str) -> str:
    """A name that Kubernetes takes.

    Example:
        >>> resource_name("My_Intents")
        'serving-my-intents'
    """
    return f"serving-{model_name}".lower().replace("_", "-").strip("-")[:50].rstrip("-")


def _resource(version: str, kind: str, name: str, labels: dict[str, str]) -> dict[str, Any]:
    return {"apiVersion": version, "kind": kind, "metadata": {"name": name, "labels": dict(labels)}}


def _deployment(options: "DeployOptions", name: str, labels: dict[str, str], flags: Sequence[str]) -> dict[str, Any]:
    return {
        "replicas": options.min_replicas,
        "selector": {"matchLabels": dict(labels)},
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
        "template": {
            "metadata": {
                "labels": dict(labels),
                "annotations": {
                    "prometheus.io/scrape": "true",
                    "prometheus.io/port": "8501",
                    "prometheus.io/path": PROMETHEUS_PATH,
                },
            },
            "spec": {
                "terminationGracePeriodSeconds": 60,
                "securityContext": {"runAsNonRoot": True, "runAsUser": 1000, "runAsGroup": 1000},
                "containers": [_container(options, flags)],
                "volumes": [
                    {"name": "models", "persistentVolumeClaim": {"claimName": f"{name}-models", "readOnly": True}},
                    {"name": "config", "configMap": {"name": name}},
                    {"name": "tmp", "emptyDir": {}},
                ],
            },
        },
    }


def _container(options: "DeployOptions", flags: Sequence[str]) -> dict[str, Any]:
    status = {"httpGet": {"path": f"/v1/models/{options.model_name}", "port": "http"}}
    return {
        "name": "serving",
        "image": options.image,
        "command": ["tensorflow_model_server"],
        "args": list(flags),
        "ports": [{"name": "grpc", "containerPort": 8500}, {"name": "http", "containerPort": 8501}],
        # The server listens only when its models are loaded.
        "startupProbe": status | {"periodSeconds": 2, "failureThreshold": 150},
        "readinessProbe": status | {"periodSeconds": 5, "timeoutSeconds": 3},
        "livenessProbe": {"tcpSocket": {"port": "grpc"}, "periodSeconds": 10, "failureThreshold": 6},
        # Traffic stops a moment after the pod is told to end.
        "lifecycle": {"preStop": {"exec": {"command": ["sleep", "5"]}}},
        "resources": {"requests": {"cpu": "1", "memory": "1Gi"}, "limits": {"memory": "4Gi"}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [
            {"name": "models", "mountPath": f"/models/{options.model_name}", "readOnly": True},
            {"name": "config", "mountPath": "/config", "readOnly": True},
            {"name": "tmp", "mountPath": "/tmp"},
        ],
    }


def _service(name: str, labels: dict[str, str]) -> dict[str, Any]:
    return _resource("v1", "Service", name, labels) | {
        "spec": {
            "selector": dict(labels),
            "ports": [
                {"name": "grpc", "port": 8500, "targetPort": "grpc"},
                {"name": "http", "port": 8501, "targetPort": "http"},
            ],
        }
    }


def _scaling(options: "DeployOptions", name: str) -> dict[str, Any]:
    busy = {"type": "Utilization", "averageUtilization": 70}
    return {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": name},
        "minReplicas": options.min_replicas,
        "maxReplicas": options.max_replicas,
        "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": busy}}],
    }
