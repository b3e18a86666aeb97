"""Load what a handle names: a SavedModel, a TF1 Hub module, or any callable."""

import hashlib
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import tensorflow as tf
from google.protobuf.message import DecodeError

from tfembed.saved_model.functions import concrete_functions
from tfembed.saved_model.graph_file import explain_unreadable, read_graph_file
from tfembed.saved_model.handles import cache_folder, graph_file, resolve
from tfembed.saved_model.reference_variables import with_resource_variables
from tfembed.saved_model.safety import check_safe

TF1_HUB_MARKER = "tfhub_module.pb"


@dataclass(frozen=True, slots=True, kw_only=True)
class Module:
    """A loaded module.

    Attributes:
        loaded: What `tf.saved_model.load` returned, or the callable itself.
        folder: Where it was loaded from; None for a callable.
        is_tf1_hub: Whether it is in the format of TF1 Hub: signatures only, never trained.
        created: Its variables in the order in which the loader created them.
    """

    loaded: Any
    folder: str | None = None
    is_tf1_hub: bool = False
    created: tuple[tf.Variable, ...] = ()

    @property
    def lists_variables(self) -> bool:
        """Whether the module lists its variables, as those of TF Hub do; a plain tf.Module has none of these lists."""
        return any(hasattr(self.loaded, name) for name in ("variables", "trainable_variables"))

    @property
    def variables(self) -> list[Any]:
        """The variables that the module lists, the trainable ones first; if it lists none, all that it uses."""
        listed = [*getattr(self.loaded, "trainable_variables", ()), *getattr(self.loaded, "variables", ())]
        if not self.lists_variables and self.created:
            signatures = getattr(self.loaded, "signatures", {}).values()
            captured = _captured([*concrete_functions(self.loaded), *signatures])
            listed = [variable for variable in self.created if id(variable.handle) in captured]
        return list({id(variable): variable for variable in listed}.values())

    @property
    def trainable_ids(self) -> set[int]:
        """The `id` of each variable that may train at all: as listed, or, without such a list, as its own flag says."""
        if hasattr(self.loaded, "trainable_variables"):
            return {id(variable) for variable in self.loaded.trainable_variables}
        if self.is_tf1_hub or (self.lists_variables and callable(self.loaded)):
            return set()
        return {id(variable) for variable in self.variables if variable.trainable and variable.dtype.is_floating}

    def hidden_variables(self, functions: Iterable[Any]) -> list[tf.Variable]:
        """The variables that traced functions read or change, and that `variables` leaves out."""
        captured = _captured(functions)
        listed = {id(variable) for variable in self.variables}
        inside = tf.train.TrackableView(self.loaded).descendants() if captured else ()
        return [v for v in inside if isinstance(v, tf.Variable) and id(v) not in listed and id(v.handle) in captured]

    @property
    def regularization_losses(self) -> list[Callable[[], tf.Tensor]]:
        """Callables without arguments, each returning a scalar loss.

        Raises:
            ValueError: If the module lists anything else under that name.
        """
        losses = list(getattr(self.loaded, "regularization_losses", ()))
        for loss in losses:
            if not callable(loss):
                raise ValueError(
                    f"The module's regularization_losses hold {loss!r}. Expected callables without arguments that "
                    "return a scalar loss; wrap the value in a tf.function."
                )
        return losses


def _captured(functions: Iterable[Any]) -> set[int]:
    """The `id` of each tensor that traced functions take from outside, such as the handle of a variable."""
    return {id(tensor) for function in functions for tensor in function.captured_inputs}


def load(
    handle: Any,
    *,
    tags: Sequence[str] | None = None,
    options: tf.saved_model.LoadOptions | None = None,
    trust: bool = False,
) -> Module:
    """Load the module that a handle names, or take a callable as it is.

    Args:
        handle: Whatever `resolve` takes, or a callable.
        tags: Which graph of a SavedModel with several; TF1 Hub modules have one without tags, which is the default.
        options: Options of `tf.saved_model.load`.
        trust: Whether it may hold ops that write files or run Python.

    Raises:
        ValueError: If the handle is neither, if it may not be loaded without trust, if no graph has these tags, or if
            a callable comes with tags or options.

    Example:
        >>> load(tf.math.square).loaded(3.0).numpy().item()
        9.0
    """
    if not callable(handle):
        return load_folder(admitted(resolve(handle), trust=trust), tags=tags, options=options)
    for name, value in {"tags": tags, "load_options": options}.items():
        if value is not None:
            raise ValueError(
                f"Got {name}={value!r} with a callable as handle, which is mutually exclusive: they say how to load a "
                f"SavedModel. Leave out {name}, or pass a path or an address."
            )
    return Module(loaded=handle)


def admitted(folder: str, *, trust: bool) -> str:
    """The folder of a SavedModel that may be loaded.

    Raises:
        ValueError: If it is not trusted and holds ops that write files or run Python.
    """
    if not trust:
        check_safe(folder)
    return folder


def load_folder(
    folder: str,
    *,
    tags: Sequence[str] | None = None,
    options: tf.saved_model.LoadOptions | None = None,
    reuse: Mapping[int, tf.Variable] | None = None,
) -> Module:
    """Load a SavedModel folder.

    Args:
        folder: A folder with saved_model.pb.
        tags: As for `load`.
        options: As for `load`.
        reuse: Variables to build the module on, by their place in the order of creation, instead of new ones. Their
            values are overwritten by those of the SavedModel.

    Raises:
        ValueError: If it is damaged, no graph has these tags, or a reused variable does not fit.
    """
    is_tf1_hub = os.path.exists(os.path.join(folder, TF1_HUB_MARKER))
    _check_tags(folder, tags)
    if tags is None and is_tf1_hub:
        tags = []
    source = with_resource_variables(folder, cache_folder())
    load_once = partial(_load_once, source, tags=tags, options=options, reuse=reuse or {})
    try:
        try:
            loaded, created = load_once()
        except (RuntimeError, FileNotFoundError, tf.errors.NotFoundError) as error:
            if "Op type not registered" not in str(error):
                raise
            # Only now: its import takes a second, and most modules have no text ops.
            import tensorflow_text  # noqa: F401  registers its ops

            loaded, created = load_once()
    except (OSError, LookupError, RuntimeError, DecodeError, tf.errors.OpError) as error:
        raise explain_unreadable(folder, error) from error
    return Module(loaded=loaded, folder=folder, is_tf1_hub=is_tf1_hub, created=tuple(created))


def fingerprint(folder: str) -> str:
    """The sha256 of a SavedModel's graph file: equal for equal code and variables, whatever their values."""
    path = graph_file(folder)
    if path is None:
        raise ValueError(f"No SavedModel in {folder!r}. Expected a folder with saved_model.pb.")
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def content_fingerprint(folder: str) -> str:
    """The sha256 of all that a SavedModel computes with: graph, vocabularies and other assets, and variables.

    Of the variables the checkpoint's index is read, which holds a checksum of each.
    """
    digest = hashlib.sha256(fingerprint(folder).encode())
    root = Path(folder)
    files = [path for path in (root / "assets").rglob("*") if path.is_file()]
    for path in [*sorted(files), root / "variables" / "variables.index"]:
        if path.is_file():
            content = path.read_bytes()
            digest.update(f"{path.relative_to(root).as_posix()} {len(content)}\n".encode())
            digest.update(content)
    return digest.hexdigest()


def _load_once(
    folder: str,
    *,
    tags: Sequence[str] | None,
    options: tf.saved_model.LoadOptions | None,
    reuse: Mapping[int, tf.Variable],
) -> tuple[Any, list[tf.Variable]]:
    """Load, noting each variable as the loader creates it, and handing out the given ones in place of new ones."""
    created: list[tf.Variable] = []

    def create(next_creator: Callable[..., tf.Variable], **wanted: Any) -> tf.Variable:
        variable = reuse.get(len(created))
        if variable is None:
            variable = next_creator(**wanted)
        elif variable.dtype != wanted["dtype"] or not variable.shape.is_compatible_with(wanted["shape"]):
            raise ValueError(
                f"The stored module's variable {wanted['name']!r} has shape {tf.TensorShape(wanted['shape'])} and "
                f"dtype {tf.as_dtype(wanted['dtype']).name}; expected {variable.shape} and {variable.dtype.name}. "
                "The file was put together from different modules; save it again."
            )
        created.append(variable)
        return variable

    # Out of any graph and name scope: a layer that is being called may be what needs the module.
    with tf.init_scope(), tf.name_scope(""), tf.variable_creator_scope(create):
        return tf.saved_model.load(folder, tags=tags, options=options), created


def _check_tags(folder: str, tags: Sequence[str] | None) -> None:
    path = graph_file(folder)
    if tags is None or path is None or path.endswith(".pbtxt"):
        return
    available = [sorted(graph.meta_info_def.tags) for graph in read_graph_file(folder).meta_graphs]
    if sorted(tags) not in available:
        raise ValueError(
            f"Unknown tags {sorted(tags)} for {folder!r}. Expected one of {available}. Pass one of these sets, or "
            "leave tags out where there is only one."
        )
