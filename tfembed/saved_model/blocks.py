"""A module's variables in blocks, ordered from input to output, and ways to select some of them."""

import math
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from tfembed.saved_model.block_names import group_names
from tfembed.saved_model.block_order import order_groups
from tfembed.saved_model.flatten import flatten
from tfembed.saved_model.functions import concrete_functions
from tfembed.saved_model.graph import CutError, FlatGraph, tf_variable

_NORM = re.compile(r"(^|[/_.])(gamma|beta)$|(norm|(^|[/_.])(bn|ln))\w*[/.](scale|offset|weight|bias)$", re.IGNORECASE)
_BIAS = re.compile(r"(^|[/_.])(bias|biases|beta|b)$", re.IGNORECASE)
_LETTER = re.compile(r"_b$", re.IGNORECASE)  # one of two factors, such as LoRA's, as well as a bias


@dataclass(frozen=True, slots=True)
class Block:
    """Variables that are frozen and unfrozen together, such as one layer of a transformer.

    Attributes:
        name: The block's name, unique among the module's blocks.
        variables: Its tf.Variable or keras.Variable objects, trainable or not.
    """

    name: str
    variables: tuple[Any, ...]

    @property
    def num_parameters(self) -> int:
        """The number of values in the block's variables, moving statistics included."""
        return sum(math.prod(variable.shape) for variable in self.variables)


def variable_name(variable: Any) -> str:
    """A variable's name with its scopes and without the output index, such as `layer_0/query/kernel`."""
    return str(getattr(variable, "path", None) or variable.name).removesuffix(":0")


def is_bias_or_norm(variable: Any) -> bool:
    """Tell biases, and the scales and offsets of norms, from the kernels and tables that weight decay is for.

    A variable of fewer than two dimensions is one of them. Of the others the name decides, and of that the end alone: a
    kernel in a layer called `alphabeta` is a kernel.

    Example:
        >>> import tensorflow as tf
        >>> [is_bias_or_norm(tf.Variable(tf.zeros([1, 2]), name=name)) for name in ("norm/scale", "alphabeta/kernel")]
        [True, False]
    """
    name = variable_name(variable)
    is_bias = _BIAS.search(name) is not None and _LETTER.search(name) is None
    return len(variable.shape) < 2 or is_bias or _NORM.search(name) is not None


def find_blocks(module: Any, *functions: Any, variables: Sequence[Any] | None = None) -> tuple[Block, ...]:
    """Find the blocks of a module.

    Variables are grouped by name, and the groups ordered by where they first act in the graph of the first function.
    Groups that depend on each other both ways become one block. Variables that act nowhere belong to the first block,
    or, if they could be trained, to a block `unused` in front of it, so that the top blocks are always those that act.

    Args:
        module: A loaded SavedModel, or any object with `variables`.
        functions: Its traced functions, that of inference first. Those of `module.__call__` if there are none.
        variables: Its variables; those that it lists if None.

    Returns:
        Blocks from input to output; each variable is in exactly one. A module that hides its variables has one.

    Raises:
        ValueError: If a variable is left out or is in two blocks; the message lists them.

    Example:
        >>> import tensorflow as tf
        >>> module = tf.Module()
        >>> module.top, module.stem = tf.Variable([1.0], name="top/bias"), tf.Variable([1.0], name="stem/bias")
        >>> function = tf.function(lambda x: tf.exp(x + module.stem) + module.top)
        >>> concrete = function.get_concrete_function(tf.TensorSpec([None, 1]))
        >>> [block.name for block in find_blocks(module, concrete)]
        ['stem', 'top']
    """
    traced = list(functions) or concrete_functions(module)
    listed = getattr(module, "variables", None) if variables is None else variables
    hidden = [v for function in traced for v in function.variables] if listed is None else listed
    variables = list({id(tf_variable(v)): v for v in hidden}.values())
    graphs = [] if listed is None else _graphs(traced, variables)
    if not graphs or not variables:  # of no block at all, what is frozen could not be told from what is not
        return (Block("module", tuple(variables)),)
    groups = _recorded(module, variables) or group_names(module, [(v, variable_name(v)) for v in variables])
    blocks = tuple(Block(name, tuple(members)) for name, members in order_groups(groups, graphs))
    check_cover(blocks, variables)
    return blocks


def _recorded(module: Any, variables: Sequence[Any]) -> dict[str, list[Any]]:
    """The blocks that a module written by tfembed brings; what is in none, such as seeds, goes to the first."""
    groups = {str(name): list(members) for name, members in dict(getattr(module, "tfembed_blocks", {})).items()}
    known = {id(tf_variable(variable)) for members in groups.values() for variable in members}
    if groups:
        next(iter(groups.values())).extend(v for v in variables if id(tf_variable(v)) not in known)
    return groups


def _graphs(functions: Sequence[Any], variables: Sequence[Any]) -> list[FlatGraph]:
    """The functions' graphs; none if one cannot be read or uses variables besides these."""
    try:
        graphs = [flatten(function, variables) for function in functions]
    except CutError:
        return []
    return [] if any(graph.hidden_variables() for graph in graphs[:1]) else graphs


def check_cover(blocks: Sequence[Block], variables: Iterable[Any]) -> None:
    """Check that each variable is in exactly one block.

    Raises:
        ValueError: If one is in none or in several; the message lists them.
    """
    members = [id(tf_variable(v)) for block in blocks for v in block.variables]
    left = [variable_name(v) for v in variables if id(tf_variable(v)) not in members]
    twice = [variable_name(v) for block in blocks for v in block.variables if members.count(id(tf_variable(v))) > 1]
    if left or twice:
        raise ValueError(
            f"Each variable must be in exactly one block: {left or 'none'} are in no block, "
            f"{sorted(set(twice)) or 'none'} in several. The blocks are {[block.name for block in blocks]}."
        )


def select_variables(blocks: Sequence[Block], selector: bool | int | str | Sequence[str | int]) -> tuple[Any, ...]:
    """Select variables to train.

    Args:
        blocks: Blocks from input to output.
        selector: True for all, False for none; a number of blocks counted from the output; a list of names of blocks or
            of their places from the input end, from 0 on (below 0 from the output end); "biases" or "norms" (scales
            and offsets of batch and layer norm); or a regular expression that is searched for in variables' names.

    Returns:
        Those of the selected variables that can be trained: moving statistics and seeds are left out.

    Raises:
        ValueError: If the selector asks for more blocks than there are, for unknown ones, or matches nothing.
        TypeError: If it is none of the above.

    Example:
        >>> import tensorflow as tf
        >>> blocks = [Block(name, (tf.Variable([0.0], name=f"{name}/bias"),)) for name in ("stem", "top")]
        >>> [variable_name(variable) for variable in select_variables(blocks, 1)]
        ['top/bias']
    """
    names = [block.name for block in blocks]
    if isinstance(selector, bool):
        return _variables(blocks if selector else ())
    if isinstance(selector, int):
        return _variables(_top(blocks, selector))
    if isinstance(selector, str):
        return _search(blocks, selector)
    if not isinstance(selector, Sequence) or not all(isinstance(name, str | int) for name in selector):
        raise TypeError(
            f"Cannot select variables by {selector!r}: pass True or False, a number of top blocks, a list of block "
            f"names, a regular expression over variable names, 'biases' or 'norms'. The blocks are {names}."
        )
    places = dict(enumerate(names)) | {i - len(names): name for i, name in enumerate(names)}
    chosen = [places.get(name, name) if isinstance(name, int) else name for name in selector]
    if unknown := [name for name in chosen if name not in names]:
        raise ValueError(f"There are no blocks {unknown}: from input to output there are {names}.")
    return _variables([block for block in blocks if block.name in chosen])


def _top(blocks: Sequence[Block], number: int) -> Sequence[Block]:
    if not 0 <= number <= len(blocks):
        raise ValueError(
            f"Cannot select the top {number} blocks: there are {len(blocks)}, from input to output "
            f"{[block.name for block in blocks]}. Pass 0 to {len(blocks)}."
        )
    return blocks[len(blocks) - number :]


def _search(blocks: Sequence[Block], selector: str) -> tuple[Any, ...]:
    kinds: dict[str, Callable[[str], Any]] = {"biases": _BIAS.search, "norms": _NORM.search}
    try:
        matches = kinds.get(selector) or re.compile(selector).search
    except re.error as error:
        raise ValueError(f"{selector!r} is not a regular expression: {error}.") from error
    found = tuple(variable for variable in _variables(blocks) if selector and matches(variable_name(variable)))
    if not found:
        some = [variable_name(variable) for variable in _variables(blocks)]
        shown = f"{some[:6]} and {len(some) - 6} more" if len(some) > 6 else some
        raise ValueError(
            f"{selector!r} matches none of the trainable variables {shown}. Pass a regular expression that does, or a "
            f"list of block names out of {[block.name for block in blocks]}."
        )
    return found


def _variables(blocks: Iterable[Block]) -> tuple[Any, ...]:
    """The blocks' variables that may ever train, whatever their flags say now."""
    variables = [variable for block in blocks for variable in block.variables]
    return tuple(v for v in variables if tf_variable(v).trainable and tf_variable(v).dtype.is_floating)
