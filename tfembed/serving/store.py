"""All models of a server: loaded at the start, polled for new versions, reconfigured while they serve."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tfembed.serving.model_config import ModelConfig
from tfembed.serving.servable import Servable
from tfembed.serving.status import Code, ServingError, invalid
from tfembed.serving.versions import Loader, ModelVersions, State, VersionStatus, no_versions, not_found


class ModelStore:
    """The models that a server has.

    Args:
        load: Loads a version.
        allow_unavailable_labels: Whether new labels may be given to versions that are not loaded.
        on_change: Is told of each model after it was polled, with what its versions are doing.
    """

    def __init__(
        self,
        load: Loader,
        *,
        allow_unavailable_labels: bool = False,
        on_change: Callable[[str, list[VersionStatus]], None] | None = None,
    ) -> None:
        self._load, self._allow = load, allow_unavailable_labels
        self._on_change = on_change or (lambda name, statuses: None)
        self._models: dict[str, ModelVersions] = {}
        self._lock = threading.Lock()  # of polling and reconfiguring; requests never take it
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []

    @property
    def names(self) -> list[str]:
        """The names of all models."""
        return sorted(self._models)

    def configure(self, configs: tuple[ModelConfig, ...]) -> None:
        """Serve these models in place of those before, and wait until the new ones are loaded.

        No request for a model that stays fails meanwhile. What is refused changes nothing.

        Raises:
            ServingError: If a label is given to a version that is not available, which changes nothing; or a new model
                cannot be loaded, which keeps the others from nothing.
        """
        with self._lock:
            before = self._models
            after, fresh = {}, []
            for config in configs:
                known = before.get(config.name)
                if known is not None and known.config.base_path == config.base_path:
                    after[config.name] = known
                else:
                    after[config.name] = ModelVersions(config, self._load)
                    fresh.append(config.name)
            self._load_checked(configs, after, fresh)
            for config in configs:
                after[config.name].config = config
                after[config.name].set_labels(config.labels)
            self._models = after
            for model in after.values():
                self._poll(model)
            for name, model in before.items():
                if after.get(name) is not model:
                    model.unload_all()
        broken = [each for name in fresh for each in _failed(name, after[name])]
        if broken:
            raise ServingError(Code.UNKNOWN, "Some models did not become available: {" + ", ".join(broken) + "}")

    def _load_checked(
        self, configs: tuple[ModelConfig, ...], models: dict[str, ModelVersions], fresh: list[str]
    ) -> None:
        """Load what configurations want, and check their labels; where one is refused, go back to what was."""
        try:
            for config in configs:
                wanted = models[config.name].load(config)
                models[config.name].check_labels(config.labels, wanted, allow_unavailable=self._allow)
        except ServingError:
            for name, model in models.items():
                if name in fresh:
                    model.unload_all()
                else:
                    model.poll()
            raise

    def acquire(self, spec: Any) -> Servable:
        """The loaded version that a ModelSpec asks for, kept loaded until the caller leaves its `in_use`.

        Raises:
            ServingError: If it is not available.
        """
        version, label = _version_and_label(spec)
        model = self._models.get(spec.name)
        if model is None:
            if label is not None:
                raise invalid(f"Unrecognized servable version label: {label}")
            raise not_found(spec.name, version)
        return model.acquire(version, label)

    def statuses(self, spec: Any) -> list[VersionStatus]:
        """What the versions that a ModelSpec names are doing.

        Raises:
            ServingError: If there is no such model or version.
        """
        version, label = _version_and_label(spec)
        model = self._models.get(spec.name)
        if model is None:
            if label is not None:
                raise invalid(f"Unrecognized servable version label: {label}")
            if version is not None:
                raise ServingError(Code.NOT_FOUND, f"Could not find version {version} of model {spec.name}")
            raise no_versions(spec.name)
        return model.statuses(version, label)

    def poll(self) -> None:
        """Look at every base path once."""
        with self._lock:
            for model in self._models.values():
                self._poll(model)

    def poll_every(self, seconds: float) -> None:
        """Poll in a thread from now on."""
        self.repeat(seconds, self.poll, "poll-versions")

    def repeat(self, seconds: float, action: Callable[[], None], name: str) -> None:
        """Do something every so many seconds, in a thread of that name, until `close`."""

        def loop() -> None:
            while not self._stop.wait(seconds):
                action()

        thread = threading.Thread(target=loop, name=name, daemon=True)
        self._threads.append(thread)
        thread.start()

    def close(self) -> None:
        """Stop polling and unload everything."""
        self._stop.set()
        for thread in self._threads:
            thread.join()
        with self._lock:
            models, self._models = self._models, {}
            for model in models.values():
                model.unload_all()
            for model in models.values():
                model.wait_until_unloaded()

    def _poll(self, model: ModelVersions) -> None:
        model.poll()
        try:
            statuses = model.statuses()
        except ServingError:
            statuses = []
        self._on_change(model.config.name, statuses)


def single_model(name: str, base_path: Path) -> tuple[ModelConfig, ...]:
    """The configuration of one model, by flags."""
    return (ModelConfig(name=name, base_path=base_path.absolute()),)


def _failed(name: str, model: ModelVersions) -> list[str]:
    try:
        statuses = model.statuses()
    except ServingError:
        return [f"{{name: {name} has no versions in {model.config.base_path}}}"]
    if any(status.state == State.AVAILABLE for status in statuses):
        return []
    return [f"{{name: {name} version: {status.version} {status.error}}}" for status in statuses]


def _version_and_label(spec: Any) -> tuple[int | None, str | None]:
    if not spec.name:
        raise invalid("ModelSpec has no name specified.")
    choice = spec.WhichOneof("version_choice")
    version = spec.version.value if choice == "version" else None
    return version, spec.version_label if choice == "version_label" else None
