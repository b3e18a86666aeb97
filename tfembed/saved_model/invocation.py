"""How a layer calls its module: which callable, with which arguments, and what of the result."""

import inspect
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import tensorflow as tf

from tfembed.saved_model.module import Module
from tfembed.saved_model.output_shapes import output_shape_config, set_shapes


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What a layer asks of its module.

    Attributes:
        arguments: Keyword arguments passed on to the callable.
        signature: Name of a signature; None calls the module itself.
        outputs_as_dict: Whether all outputs of the signature are wanted, as a dict.
        output_key: The one output wanted, of those in a dict.
        output_shape: Nest of shapes without batch size to set on the outputs; None leaves them.
    """

    arguments: Mapping[str, Any]
    signature: str | None = None
    outputs_as_dict: bool = False
    output_key: str | None = None
    output_shape: Any = None

    def describe(self) -> dict[str, Any]:
        """The arguments of the layer's constructor that ask for this, as JSON values.

        Raises:
            ValueError: If `arguments` holds what JSON cannot.
        """
        for key, value in self.arguments.items():
            try:
                json.dumps(value)
            except (TypeError, ValueError) as error:
                raise ValueError(
                    f"`HubLayer(..., arguments)` contains non json-serializable values in key: {key} ({value!r}). "
                    "Expected numbers, strings, lists and dicts of these."
                ) from error
        options = {
            "arguments": dict(self.arguments) or None,
            "signature": self.signature,
            "signature_outputs_as_dict": self.outputs_as_dict or None,
            "output_key": self.output_key,
            "output_shape": output_shape_config(self.output_shape),
        }
        return {name: value for name, value in options.items() if value is not None}

    def completed(self, is_tf1_hub: bool) -> "Request":
        """The same, with the names that the format of TF1 Hub gives where none is set.

        Raises:
            ValueError: If `signature` comes with both or neither of `output_key` and `outputs_as_dict`, or
                `outputs_as_dict` without a signature.
        """
        signature, key = self.signature, self.output_key
        if is_tf1_hub:
            signature = signature or "default"
            key = key if self.outputs_as_dict or key is not None else "default"
        if signature is not None and self.outputs_as_dict == (key is not None):
            raise ValueError(
                "When using a signature, either output_key or signature_outputs_as_dict=True should be set. Got "
                f"signature={signature!r}, output_key={key!r}, signature_outputs_as_dict={self.outputs_as_dict}."
            )
        if signature is None and self.outputs_as_dict:
            raise ValueError(
                "signature_outputs_as_dict is only valid if specifying a signature (or using a TF1 Hub module). Pass "
                "signature='serving_default' or another name, or leave it out to call the module itself."
            )
        return replace(self, signature=signature, output_key=key)


@dataclass(frozen=True, slots=True, kw_only=True)
class Invocation:
    """A callable with the request it answers; `takes_training` says whether it has an argument of that name."""

    function: Callable[..., Any]
    request: Request
    takes_training: bool

    def __call__(self, inputs: Any, training: Any, when_training: Callable[[Any], Any] | None = None) -> Any:
        """Call the module.

        Args:
            inputs: A tensor or a nest of tensors. For a signature, a dict is its keyword arguments.
            training: A Python bool, or a scalar bool tensor; ignored where the callable does not ask for it.
            when_training: What is called on the inputs in training, in place of the module itself.

        Raises:
            ValueError: If the result has no `output_key`, or other shapes than `output_shape`.
        """
        keywords = dict(self.request.arguments)
        if self.request.signature is not None and isinstance(inputs, dict):
            call = partial(self.function, **{**keywords, **inputs})
        else:
            call = partial(self.function, inputs, **keywords)
        if not self.takes_training:
            return self.select(call(), inputs)
        train = partial(call, training=True) if when_training is None else partial(when_training, inputs)
        known = bool(training) if isinstance(training, bool | int) else tf.get_static_value(training)
        if known is None:
            return self.select(tf.cond(tf.cast(training, tf.bool), train, partial(call, training=False)), inputs)
        return self.select(train() if known else call(training=False), inputs)

    def select(self, result: Any, inputs: Any) -> Any:
        """Take the wanted output from the module's result, and set its shape where one was given."""
        if self.request.output_key is not None:
            result = _pick(result, self.request.output_key)
        if self.request.output_shape is not None:
            first = tf.nest.flatten(inputs)[0]
            batch = first.shape[:1] if first.shape.rank else tf.TensorShape([None])
            set_shapes(result, self.request.output_shape, batch)
        return result


def invocation(module: Module, request: Request) -> Invocation:
    """Find the module's callable or signature.

    Raises:
        ValueError: If the request contradicts itself, the module has no such signature, or none is named and the module
            is not callable.
    """
    request = request.completed(module.is_tf1_hub)
    if request.signature is None and callable(module.loaded):
        return Invocation(function=module.loaded, request=request, takes_training=takes_training(module.loaded))
    signatures = getattr(module.loaded, "signatures", {})
    name = module.folder or repr(module.loaded)
    if not signatures:
        wanted = "is not callable and has" if request.signature is None else "has"
        raise ValueError(
            f"The module {name} {wanted} no signatures. Expected a SavedModel with a callable or with signatures; save "
            "it with signatures=..., or as an object with a __call__ that is a tf.function."
        )
    if request.signature is None:
        raise ValueError(
            f"The module {name} is not callable. Expected the name of a signature; pass signature= one of "
            f"{sorted(signatures)} and signature_outputs_as_dict=True or output_key=."
        )
    if request.signature not in signatures:
        raise ValueError(
            f"Unknown signature {request.signature!r} in {name} (available signatures: {sorted(signatures)}). Pass one "
            "of these."
        )
    return Invocation(function=signatures[request.signature], request=request, takes_training=False)


def takes_training(function: Callable[..., Any]) -> bool:
    """Whether a callable has an argument named `training`.

    Example:
        >>> takes_training(lambda x, training: x)
        True
    """
    # A restored module shows (*args, **kwargs) and its __call__ the arguments; a tf.function does the opposite, and a
    # Keras layer shows them in `call` only.
    for candidate in (function, getattr(function, "__call__", None), getattr(function, "call", None)):  # noqa: B004
        if candidate is None:
            continue
        try:
            parameters = inspect.signature(candidate).parameters
        except (TypeError, ValueError):  # builtins without a signature
            continue
        if "training" in parameters:
            return True
    return False


def input_dtypes(function: Callable[..., Any], count: int) -> list[str] | None:
    """The dtypes of the `count` tensors that a traced function takes; None where it does not tell."""
    function = function if hasattr(function, "structured_input_signature") else getattr(function, "__call__", function)  # noqa: B004
    for traced in getattr(function, "concrete_functions", [function]):
        arguments, keywords = getattr(traced, "structured_input_signature", ((), {}))
        nest = arguments[0] if arguments else keywords
        specs = [spec for spec in tf.nest.flatten(nest) if isinstance(spec, tf.TypeSpec)]
        if len(specs) == count:
            return [spec.dtype.name for spec in specs]
    return None


def _pick(result: Any, key: str) -> Any:
    if not isinstance(result, Mapping):
        raise ValueError(
            f"Specifying `output_key` is forbidden if output type {type(result).__name__} is not a dict. Leave out "
            f"output_key={key!r}."
        )
    if key not in result:
        raise ValueError(f"HubLayer output does not contain the output key {key!r} (available: {sorted(result)}).")
    return result[key]
