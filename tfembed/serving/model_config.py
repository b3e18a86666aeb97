"""Which models are served: one by flags, or several by a ModelServerConfig."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tfembed.serving.status import invalid


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionPolicy:
    """Which of the versions in a base path are served.

    Attributes:
        latest: So many of the highest ones, unless one of the others is given.
        specific: These ones.
        all: Every one.

    Example:
        >>> VersionPolicy(latest=2).choose([1, 5, 3]), VersionPolicy(specific=(1, 9)).choose([1, 5])
        ([3, 5], [1])
    """

    latest: int = 1
    specific: tuple[int, ...] = ()
    all: bool = False

    def __post_init__(self) -> None:
        """Check the values."""
        if self.specific and self.all:
            raise ValueError("A version policy is one of latest, specific and all.")
        if self.latest < 1:
            raise ValueError(f"The latest {self.latest} versions cannot be served: num_versions must be 1 or more.")

    def choose(self, versions: list[int]) -> list[int]:
        """The ones of these versions that are wanted, in ascending order."""
        ordered = sorted(versions)
        if self.all:
            return ordered
        if self.specific:
            return [version for version in ordered if version in self.specific]
        return ordered[-self.latest :]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelConfig:
    """A model to serve.

    Attributes:
        name: As requests name it.
        base_path: The folder of its versions.
        policy: Which versions.
        labels: Names for versions.
    """

    name: str
    base_path: Path
    policy: VersionPolicy = field(default_factory=VersionPolicy)
    labels: dict[str, int] = field(default_factory=dict)


def read_configs(message: Any) -> tuple[ModelConfig, ...]:
    """The models of a ModelServerConfig.

    Raises:
        ServingError: As TensorFlow Serving answers what is wrong with it.
    """
    if message.WhichOneof("config") not in (None, "model_config_list"):
        raise invalid(
            "ServerModelConfig type not supported by HandleReloadConfigRequest. Only ModelConfigList is currently "
            "supported"
        )
    names: set[str] = set()
    configs = []
    for config in message.model_config_list.config:
        if config.name in names:
            raise invalid(f"Illegal to list model {config.name} multiple times in config list")
        names.add(config.name)
        configs.append(_read(config))
    return tuple(configs)


def _read(config: Any) -> ModelConfig:
    # model_type is a deprecated field; 1 is TENSORFLOW
    if config.model_type and config.model_platform:
        raise invalid(
            "Illegal setting both ModelServerConfig::model_type (deprecated) and ModelServerConfig::model_platform."
        )
    platform = "tensorflow" if config.model_type == 1 else config.model_platform
    if not platform:
        raise invalid(
            "Illegal setting neither ModelServerConfig::model_type (deprecated) nor ModelServerConfig::model_platform."
        )
    if platform != "tensorflow":
        raise invalid(f"Model {config.name} requests unsupported platform {platform}")
    path = Path(config.base_path)
    if not path.is_absolute():
        raise invalid(
            f"Expected model {config.name} to have an absolute path or URI; got base_path()={config.base_path}"
        )
    labels = dict(config.version_labels)
    try:
        return ModelConfig(name=config.name, base_path=path, policy=_policy(config.model_version_policy), labels=labels)
    except ValueError as error:
        raise invalid(str(error)) from error


def _policy(message: Any) -> VersionPolicy:
    kind = message.WhichOneof("policy_choice")
    if kind == "all":
        return VersionPolicy(all=True)
    if kind == "specific":
        return VersionPolicy(specific=tuple(message.specific.versions))
    return VersionPolicy(latest=message.latest.num_versions or 1)
