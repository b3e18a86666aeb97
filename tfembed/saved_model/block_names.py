"""Group a module's variables by name into what a person recognises: `embeddings`, `layer_0`, `block_13`, `pooler`."""

import re
from collections.abc import Iterator, Sequence
from typing import Any

# A numbered part in a scope's name: layer_3, transformer_layer_3, conv2_block1, block3b, stage_1, encoderblock_0.
_WORDS = "layer|layers|block|blocks|stage|stages|group|unit|cell"
_NUMBERED = re.compile(rf"^((?:[A-Za-z0-9]+_)*?[A-Za-z]*(?:{_WORDS})_?\d+[a-z]?)(?![A-Za-z0-9])")
_INVERTED = re.compile(r"^expanded_conv(?:_(\d+))?(?![A-Za-z0-9])")  # MobileNet's blocks; the first has no number
_CONTAINERS = frozenset({"layer", "layers", "block", "blocks", "h", "encoder", "stages", "features"})
_KINDS = "bn|BN|batch_?norm(?:alization)?|layer_?norm(?:alization)?|norm|conv|transform"
_AFFIX = re.compile(rf"^(?:bn|ln|norm)_(?=\w)|_(?:{_KINDS})$")


def group_names(module: Any, named: Sequence[tuple[Any, str]]) -> dict[str, list[Any]]:
    """Group variables by name.

    Args:
        module: The object that the variables belong to; its attributes tell where names do not.
        named: Variables with their names, such as `transformer/layer_0/query/kernel`.

    Returns:
        Variables by the name of their group.
    """
    names = [name for _, name in named]
    if len(names) > 1 and (len(set(names)) < len(names) or not any("/" in name for name in names)):
        attributes = dict(_attributes(module))
        names = [attributes.get(id(variable), name) for variable, name in named]
    names = _without_common_scope(names)
    groups: dict[str, list[Any]] = {}
    for (variable, _), name in zip(named, names, strict=True):
        groups.setdefault(group_name(name), []).append(variable)
    return groups


def group_name(name: str) -> str:
    """The group of one variable.

    Example:
        >>> [group_name(name) for name in ("bert/layer_3/query/kernel", "block_1_expand_BN/beta", "bn_Conv1/beta")]
        ['layer_3', 'block_1', 'Conv1']
        >>> [group_name(name) for name in ("word_embeddings/table", "pooler_transform/bias", "conv2_block1_0_bn/beta")]
        ['embeddings', 'pooler', 'conv2_block1']
    """
    scopes = name.split("/")[:-1] or [name]
    for position, scope in enumerate(scopes):
        if found := _INVERTED.match(scope):
            return f"block_{found[1] or 0}"
        if found := _NUMBERED.match(scope):
            return found[1]
        if scope.isdigit() and position and scopes[position - 1] in _CONTAINERS:
            return f"{scopes[position - 1]}_{scope}"
        if "embed" in scope.lower():
            return "embeddings"
    return _bare(scopes[0])


def _bare(scope: str) -> str:
    """A scope without what only says which kind of layer it is: `stem_bn` and `stem_conv` are both `stem`."""
    while (shorter := _AFFIX.sub("", scope)) not in ("", scope):
        scope = shorter
    return scope


def _without_common_scope(names: Sequence[str]) -> list[str]:
    """Drop the scopes that all names share, but keep at least one before the variable's own name."""
    split = [name.split("/") for name in names]
    while split and all(len(parts) > 2 for parts in split) and len({parts[0] for parts in split}) == 1:
        split = [parts[1:] for parts in split]
    scoped = [parts for parts in split if len(parts) > 2]
    numbered = any(parts[1].isdigit() for parts in scoped)  # stages/0 is a name of two parts
    if scoped and not numbered and len({parts[0] for parts in scoped}) == 1 and len(scoped) > len(split) // 2:
        split = [parts[1:] if len(parts) > 2 and parts[0] == scoped[0][0] else parts for parts in split]
    return ["/".join(parts) for parts in split]


def _attributes(module: Any, prefix: str = "", seen: set[int] | None = None) -> Iterator[tuple[int, str]]:
    """Where each variable hangs in a module: its id and path, such as `layers/0/kernel`."""
    seen = {id(module)} if seen is None else seen
    for name, child in module._trackable_children().items() if hasattr(module, "_trackable_children") else ():
        path = f"{prefix}{name}"
        if name in ("variables", "trainable_variables", "regularization_losses", "signatures") or id(child) in seen:
            continue
        seen.add(id(child))
        if hasattr(child, "handle") and hasattr(child, "trainable"):
            yield id(child), path
        else:
            yield from _attributes(child, f"{path}/", seen)
