"""Which of a module's traced functions to read: the one for given inputs and arguments, in inference or training."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from tfembed.saved_model.graph import CutError

_TRAINING = ("training", "is_training")


@dataclass(frozen=True, slots=True)
class Function:
    """One traced function of a module, with everything but its inputs settled.

    Attributes:
        concrete: The concrete function.
        inputs: What it takes, as a structure of tf.TensorSpec.
        input_names: A name for each of the inputs, in the order in which they are flattened.
        constants: Values of its further tensor arguments, by the name of their placeholder.
        by_keyword: Whether the inputs are keyword arguments, as those of signatures are.
    """

    concrete: Any
    inputs: Any
    input_names: tuple[str, ...]
    constants: dict[str, Any]
    by_keyword: bool = False

    @property
    def specs(self) -> list[tf.TensorSpec]:
        """The inputs' specs, flattened, in the order of the graph's inputs."""
        return tf.nest.flatten(self.inputs)


def find_function(
    module_call: Any, arguments: Mapping[str, Any], *, training: bool, like: Any = None
) -> Function | None:
    """Find the function for the arguments.

    Args:
        module_call: A restored or Python `tf.function`, a concrete function, or an object that is called as one.
        arguments: Further arguments of the module by name, such as `{"return_intermediate": False}`.
        training: Whether to find the function for training.
        like: Tensors or specs that the inputs must fit in structure, dtype and shape. All functions fit if None.

    Returns:
        The function, or None if training is asked for and the module has no function for it. Of several that fit,
        the first that takes any batch size, and of these one that takes a single tensor.

    Raises:
        CutError: If there is no function for inference, naming what there is.
    """
    concretes = concrete_functions(module_call)
    tried = [_settle(concrete, arguments, training) for concrete in concretes]
    fitting = [f for f in tried if isinstance(f, Function) and (like is None or _fits(f.inputs, like))]
    fitting.sort(key=lambda function: len(function.specs) > 1)
    if fitting:
        return next((f for f in fitting if all(s.shape.rank and s.shape[0] is None for s in f.specs)), fitting[0])
    if training:
        return None
    reasons = [f if isinstance(f, str) else f"its inputs are {f.inputs}" for f in tried]
    raise CutError(
        f"None of the module's {len(concretes)} traced functions serves inference with the arguments "
        f"{dict(arguments)}: {'; '.join(reasons) or 'it has none, so there is no graph to cut'}."
    )


def concrete_functions(module_call: Any) -> list[Any]:
    """All traced functions behind a callable; none for plain Python callables."""
    if hasattr(module_call, "structured_input_signature"):
        return [module_call]
    if hasattr(module_call, "concrete_functions"):
        return list(module_call.concrete_functions)
    if hasattr(module_call, "get_concrete_function"):
        return list(module_call._list_all_concrete_functions())  # tf.function has no public way to ask
    call = getattr(module_call, "__call__", None)  # noqa: B004 - the attribute itself is wanted, not callability
    return (
        concrete_functions(call)
        if hasattr(call, "get_concrete_function") or hasattr(call, "concrete_functions")
        else []
    )


def _settle(concrete: Any, arguments: Mapping[str, Any], training: bool) -> Function | str:
    """The function with its arguments settled, or why it does not take them."""
    args, kwargs = concrete.structured_input_signature
    positional = [name for name in concrete.function_type.parameters if name not in kwargs]
    values = dict(zip(positional[len(positional) - len(args) :], args, strict=True))
    values |= {name: kwargs[name] for name in sorted(kwargs)}
    first = next(iter(values), "inputs")
    inputs = values[first] if args or len(values) == 1 else dict(values)
    others = {name: value for name, value in values.items() if args and name != first}
    switch = [name for name in others if name in _TRAINING]
    wanted = {name: value for name, value in arguments.items() if name not in _TRAINING} | dict.fromkeys(
        switch, training
    )
    if training and not switch:
        return "it has no argument for training"
    if composite := [spec for spec in tf.nest.flatten(inputs) if not isinstance(spec, tf.TensorSpec)]:
        return f"it takes {composite}, and only plain tensors can cross a cut"
    if wrong := _misfit(others, wanted):
        return wrong
    placeholders = _placeholders(concrete, values)
    single = isinstance(inputs, tf.TensorSpec)
    return Function(
        concrete=concrete,
        inputs=inputs,
        input_names=tuple(paths(inputs, first if single else "")),
        constants={
            placeholder: value
            for name in others.keys() & wanted.keys()
            for placeholder, value in zip(placeholders[name], tf.nest.flatten(wanted[name]), strict=False)
        },
        by_keyword=not args,
    )


def _misfit(others: Mapping[str, Any], wanted: Mapping[str, Any]) -> str | None:
    """Why a function with these further arguments cannot be called with the wanted ones."""
    if unknown := sorted(wanted.keys() - others.keys()):
        return f"it has no argument {unknown}"
    for name, value in others.items():
        if any(isinstance(leaf, tf.TypeSpec) for leaf in tf.nest.flatten(value)):
            if name not in wanted:
                return f"its argument {name!r} is not given"
        elif name in wanted and (value or False) != (wanted[name] or False):
            return f"its argument {name!r} is {value!r}"
    return None


def _placeholders(concrete: Any, values: Mapping[str, Any]) -> dict[str, list[str]]:
    """Names of the placeholders of each argument."""
    names, result = iter([tensor.op.name for tensor in concrete.inputs]), {}
    for name, value in values.items():
        leaves = [leaf for leaf in tf.nest.flatten(value, expand_composites=True) if isinstance(leaf, tf.TypeSpec)]
        result[name] = [next(names) for _ in leaves]
    return result


def paths(structure: Any, prefix: str = "") -> Iterator[str]:
    """Names of a structure's leaves in the order of tf.nest, such as `encoder_outputs/3`.

    Example:
        >>> list(paths({"ids": 0, "more": [1, 2]}))
        ['ids', 'more/0', 'more/1']
    """
    start = f"{prefix}/" if prefix else ""
    if isinstance(structure, Mapping):
        for key in sorted(structure):
            yield from paths(structure[key], f"{start}{key}")
    elif isinstance(structure, list | tuple):
        for position, value in enumerate(structure):
            yield from paths(value, f"{start}{position}")
    elif structure is not None:
        yield prefix or "inputs"


def _fits(specs: Any, values: Any) -> bool:
    try:
        tf.nest.assert_same_structure(specs, values)
    except (ValueError, TypeError):
        return False
    pairs = zip(tf.nest.flatten(specs), tf.nest.flatten(values), strict=True)
    return all(s.dtype == v.dtype and s.shape.is_compatible_with(v.shape) for s, v in pairs)
