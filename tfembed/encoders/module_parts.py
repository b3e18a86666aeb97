"""The parts of an opaque module: its blocks, up to the wanted output or to the block whose result is wanted."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import keras
import tensorflow as tf

from tfembed.encoders.graph_hash import GraphHash
from tfembed.saved_model.blocks import select_variables
from tfembed.saved_model.cut import ModuleGraph
from tfembed.saved_model.graph import CutError
from tfembed.saved_model.layer import HubLayer


class ModuleParts:
    """The parts of a SavedModel in a HubLayer, without blocks that the wanted output does not need. See `Parts`.

    Args:
        layer: The layer.
        output: The name of the wanted output, where the module gives a dictionary, or of the block to end with; all
            outputs if None.
        inputs: Tensors that it is called on, where it takes texts as well as their tokens.

    Attributes:
        blocks: From input to output.
        has_copies: Whether other variables stand in for its own.
        is_whole: Whether the last block is the end of the module.

    Raises:
        ValueError: If there is neither an output nor a block of this name.
        CutError: If more than one tensor crosses behind the block.
    """

    def __init__(self, layer: HubLayer, output: str | None, inputs: Any = None) -> None:
        self._layer, self._graph, self._cut_error = layer, None, None
        self.has_copies, self.is_whole = False, True
        try:
            self._graph = self._find_graph(output, inputs)
        except CutError as error:
            self._cut_error = error
        used = None if self._graph is None else self._graph.used_variables
        last = len(layer.blocks) if self.is_whole else self._block_names().index(str(output)) + 1
        self._places = [
            i for i, block in enumerate(layer.blocks[:last]) if used is None or used & set(map(id, block.variables))
        ] or [0]
        self._end = last
        self.blocks = tuple(layer.keras_blocks[i] for i in self._places)

    def _block_names(self) -> list[str]:
        return [block.name for block in self._layer.blocks]

    def _find_graph(self, output: str | None, inputs: Any) -> ModuleGraph:
        try:
            return self._layer.graph(output, inputs)
        except CutError:
            raise
        except ValueError as error:  # it has no output of this name
            names = self._block_names()
            if output not in names:
                said = str(error).removesuffix(" Pass outputs=None.")
                raise ValueError(f"{said} Pass the block whose result is wanted: one of {names}.") from error
            self.is_whole = False
            return self._layer.graph(None, inputs)

    def segment(self, start: int, stop: int, training: bool) -> Callable[[Any], Any]:
        """See Parts; the last segment gives the output that is wanted, and no other."""
        graph, places = self._cuttable()
        training = training and not self._layer.runs_fixed
        part = graph.segment(places[start] if start else 0, places[stop], training)
        if self.is_whole or stop < len(self.blocks):
            return part
        return lambda features: self._only(part(features))

    def _only(self, crossing: Any) -> Any:
        tensors = tf.nest.flatten(crossing)
        if len(tensors) > 1:
            shapes = ", ".join(str(tuple(tensor.shape)) for tensor in tensors)
            raise CutError(
                f"Behind block {self.blocks[-1].name!r} there are {len(tensors)} tensors, of shapes {shapes}: expected "
                f"one. Take another block for the output: one of {self._block_names()}."
            )
        return tensors[0]

    def cost_share(self, cut: int) -> float:
        """See Parts."""
        graph, places = self._cuttable()
        return graph.cost_share(places[cut]) / (1.0 if self.is_whole else graph.cost_share(places[-1]) or 1.0)

    def graph_hash(self, cut: int) -> GraphHash | None:
        """See Parts; the files of a module say what it computes."""
        fingerprint = self._layer.fingerprint
        return None if fingerprint is None else GraphHash(fingerprint, (), ())

    def crossing_names(self, cut: int) -> list[str]:
        """See Parts; the names are those of the module's blocks."""
        return []

    def _cuttable(self) -> tuple[ModuleGraph, list[int]]:
        """The module's graph, and where in it the cuts are."""
        if self._graph is None:
            raise self._cut_error or CutError("The module cannot be cut.")
        return self._graph, [*self._places, self._graph.num_blocks if self.is_whole else self._end]

    def select(self, selector: Any) -> tuple[Any, ...]:
        """See Parts."""
        blocks = [self._layer.blocks[i] for i in self._places]  # under the names that the module gives its variables
        return select_variables(blocks, selector)

    def set_trained(self, variables: Iterable[Any], fixed_statistics: bool) -> None:
        """See Parts."""
        self._layer.fixed_statistics = fixed_statistics
        self._layer.unfreeze_variables(variables)

    @property
    def trains_batch_norm(self) -> bool:
        """See Parts; a module does not say in which blocks."""
        return self._layer.trainable and self._layer.updates_statistics

    @property
    def batch_norms(self) -> list[keras.layers.BatchNormalization] | None:
        """See Parts."""
        return None if self.trains_batch_norm else []

    @property
    def trained_layers(self) -> list[keras.layers.Layer]:
        """See Parts."""
        return []

    def refresh(self) -> None:
        """See Parts; a module has the variables that it has."""

    def stand_in(self, copies: Mapping[int, tf.Variable]) -> None:
        """See Parts."""
        self._cuttable()[0].stand_in(copies)
        self.has_copies = bool(copies)
