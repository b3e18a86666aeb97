"""Order groups of variables by where they first act in a graph, and join those that no cut can part."""

from collections.abc import Mapping, Sequence
from graphlib import CycleError, TopologicalSorter
from typing import Any

from tfembed.saved_model.graph import FlatGraph, base, data_inputs, tf_variable

UNUSED = "unused"


def order_groups(groups: Mapping[str, Sequence[Any]], graphs: Sequence[FlatGraph]) -> list[tuple[str, list[Any]]]:
    """Order groups from input to output.

    Args:
        groups: Variables by the name of their group.
        graphs: The module's functions, that of inference first. The others only place variables that it does not use.

    Returns:
        Names and variables of the groups, joined where each depends on the other.
    """
    members = {name: list(variables) for name, variables in groups.items()}
    owner = {id(tf_variable(v)): name for name, variables in members.items() for v in variables}
    first: dict[str, int] = {}
    needs: dict[str, set[str]] = {}
    for graph in graphs:
        position, before = _first_uses(graph, owner)
        fresh = [name for name in position if name not in first]
        first |= {name: len(first) * 10**6 + position[name] for name in fresh}
        needs |= {name: before[name] & (first.keys() | set(fresh)) for name in fresh}
    members = _place_idle(members, first)
    first.setdefault(UNUSED, -1)
    needs = {name: needs.get(name, set()) & members.keys() for name in members}
    return _sorted(members, needs, first)


def _first_uses(graph: FlatGraph, owner: Mapping[int, str]) -> tuple[dict[str, int], dict[str, set[str]]]:
    """For each group, the depth at which it first acts, and the groups that one of its variables has to wait for.

    A variable that is used in several places (tied embeddings) waits only for what all of these places wait for.
    """
    inputs, wanted = graph.from_inputs(), set(graph.ancestors(graph.outputs))
    acting = {name for name, variable in graph.variables.items() if variable.dtype.is_floating}  # seeds do not
    behind: dict[str, frozenset[str]] = {}
    waits: dict[str, set[str]] = {}
    depth: dict[str, int] = {}
    first: dict[str, int] = {}
    for name, node in graph.nodes.items():
        parents = [base(tensor) for tensor in data_inputs(node)]
        own = {owner[id(graph.variables[name])]} if name in acting else set()
        behind[name] = frozenset(own).union(*(behind[parent] for parent in parents))
        depth[name] = max((depth[parent] + 1 for parent in parents if parent in inputs), default=0)
        if name not in inputs or name not in wanted:
            continue
        fixed = [parent for parent in parents if parent not in inputs]
        acted = set().union(*(behind[parent] for parent in parents if parent in inputs))
        for placeholder in graph.ancestors(fixed):
            if placeholder in acting:
                waits[placeholder] = waits[placeholder] & acted if placeholder in waits else set(acted)
                group = owner[id(graph.variables[placeholder])]
                first[group] = min(first.get(group, depth[name]), depth[name])
    before: dict[str, set[str]] = {group: set() for group in first}
    for placeholder, groups in waits.items():
        before[owner[id(graph.variables[placeholder])]] |= groups
    return first, {group: groups - {group} for group, groups in before.items()}


def _place_idle(members: dict[str, list[Any]], first: Mapping[str, int]) -> dict[str, list[Any]]:
    """Move groups that act nowhere to the first block, or to one of their own if they could be trained."""
    acting = {name: variables for name, variables in members.items() if name in first}
    idle = [variable for name, variables in members.items() if name not in first for variable in variables]
    if not acting:
        return members
    trainable = [v for v in idle if tf_variable(v).trainable and tf_variable(v).dtype.is_floating]
    rest = [v for v in idle if all(v is not other for other in trainable)]
    acting[min(acting, key=first.__getitem__)].extend(rest)
    return {UNUSED: trainable, **acting} if trainable else acting


def _sorted(
    members: dict[str, list[Any]], needs: Mapping[str, set[str]], first: Mapping[str, int]
) -> list[tuple[str, list[Any]]]:
    """Sort by need and then by depth; a circle of needs becomes one group, named after its members."""
    sorter, order = TopologicalSorter(needs), []
    try:
        sorter.prepare()
    except CycleError as error:
        circle = sorted(set(error.args[1]), key=lambda name: first.get(name, 0))
        joined = "+".join(circle)
        together = {
            **{n: v for n, v in members.items() if n not in circle},
            joined: [v for n in circle for v in members[n]],
        }
        rename = {name: joined if name in circle else name for name in members}
        merged: dict[str, set[str]] = {name: set() for name in together}
        for name, others in needs.items():
            merged[rename[name]] |= {rename[other] for other in others} - {rename[name]}
        return _sorted(together, merged, {**first, joined: min(first.get(name, 0) for name in circle)})
    ready = list(sorter.get_ready())
    while ready:
        name = min(ready, key=lambda candidate: first.get(candidate, 0))
        ready.remove(name)
        order.append((name, members[name]))
        sorter.done(name)
        ready.extend(sorter.get_ready())
    return order
