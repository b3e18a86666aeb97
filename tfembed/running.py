"""Run one phase: the only place where flags are set, models compiled and fitted."""

import logging
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfembed.batches import Drawn, Epochs, InParts, batches, in_parts, inputs_of, resident, targets
from tfembed.data import Dataset, Split, class_weights
from tfembed.distribution import num_replicas, prepare_fit, spread
from tfembed.encoders.batch_norm import adapt, unfreeze_for
from tfembed.encoders.encoder import INPUTS, Encoder, Suffix
from tfembed.encoders.forward import check_cut
from tfembed.encoders.low_rank import low_rank
from tfembed.encoders.mixed_precision import mixed_precision
from tfembed.features import FeatureCache, Source
from tfembed.head_layers import is_linear, renew_directions
from tfembed.optimizers import BlockwiseAdamW, with_warmup
from tfembed.phases import Phase
from tfembed.predict import ModelParts
from tfembed.progress import progress
from tfembed.saved_model.blocks import is_bias_or_norm
from tfembed.saved_model.graph import CutError
from tfembed.solution import solve_linear
from tfembed.supervised_contrastive import contrastive_loss
from tfembed.validation import loss_of, undone_if_worse

logger = logging.getLogger(__name__)

_VALIDATION_BATCH = 64  # at least: without gradients there is room for more


@dataclass(frozen=True, slots=True, kw_only=True)
class PhaseResult:
    """What a phase did.

    Attributes:
        name: The phase's.
        num_frozen: Blocks whose results were computed once.
        trained_parameters: How many values could change.
        seconds: Features included.
        history: Loss and metrics of each epoch; where the head was solved, its loss in cross-validation alone. For
            regressions these are mean squared errors of standardized targets: always predicting the mean of the
            training targets has a training loss of 1.
        not_cut: Why the encoder was run whole, though some of it is frozen; None where it was cut.
        kept: Whether the phase's weights were kept. False if the validation loss rose, or a regressor did worse than
            the mean of the training targets; then the earlier weights were restored, or the regressor was set to
            predict that mean.
        loss: Loss that the phase came to, on the split that it was judged on; None where it was not judged.
        earlier_loss: The highest loss there with which its weights would have been kept: that of the weights before it,
            or of always predicting the mean; None where there was none.
        judged_on: `"validation"`, or `"training"` where a regressor was judged without a validation split; None where
            the phase was not judged.
        judged_by: `"earlier weights"` or `"mean"`, which gave `earlier_loss`; None where the phase was not judged.
    """

    name: str
    num_frozen: int
    trained_parameters: int
    seconds: float
    history: dict[str, list[float]]
    not_cut: str | None
    kept: bool
    loss: float | None = None
    earlier_loss: float | None = None
    judged_on: str | None = None
    judged_by: str | None = None


def run_phase(  # noqa: PLR0913 - what the result depends on, and who watches
    parts: ModelParts,
    data: Dataset,
    phase: Phase,
    *,
    seed: int,
    balanced: bool,
    cache: FeatureCache,
    distribution: tf.distribute.Strategy | None = None,
    on_epoch: Callable[[dict[str, float]], None] | None = None,
) -> PhaseResult:
    """Set the flags, then solve the head, or compile and fit it with what is unfrozen of the encoder.

    Args:
        parts: Of a model; they are changed.
        data: Its training part is trained on; its validation part settles which epoch, and whether any, is kept.
        phase: What to do.
        seed: Of the order of examples, of dropout, and of the folds.
        balanced: Whether every class counts the same.
        cache: Of features.
        distribution: Of each batch over several devices; see `train`.
        on_epoch: Called with loss and metrics after each epoch; what it raises ends the phase, in the middle of it.

    Raises:
        ValueError: If the phase unfreezes what the encoder does not have.
    """
    started, encoder, head = time.perf_counter(), parts.encoder, parts.head
    batch_norm = unfreeze_for(phase, encoder, len(data.train))
    head.trainable = True
    with undone_if_worse(parts, data, phase, cache) as verdict, low_rank(encoder, phase.lora_rank):
        cut, not_cut, features = _features(encoder, data, cache)
        if batch_norm == "adapt":
            adapt(encoder, _shuffled(features[0], seed), cut)
        if cut < len(encoder.blocks):
            encoder.note_training(cut, data.train.examples, data.validation.examples)
        if phase.objective == "contrastive":
            features[0] = InParts.by_class(features[0], data.train.labels, phase.batch_size)
            distribution = None
        elif distribution is None and cut < len(encoder.blocks):
            features = in_parts(features, phase.batch_size)
        renew_directions(head)
        work = _Work(parts, data, phase, seed, balanced, features[0], features[1], cut, distribution)
        trained = [*encoder.trainable_variables]
        trained += head.trainable_variables if phase.objective == "labels" else []
        solved = phase.solve and cut == len(encoder.blocks) and is_linear(head)
        with (
            spread(None if solved else distribution, encoder, work.variables()),
            mixed_precision(encoder, phase.mixed_precision and cut < len(encoder.blocks)),
        ):
            history = _solve(work) if solved else _fit(work, on_epoch)
    return PhaseResult(
        name=phase.name,
        num_frozen=cut,
        trained_parameters=sum(int(np.prod(variable.shape)) for variable in trained),
        seconds=time.perf_counter() - started,
        history={name: [float(value) for value in values] for name, values in history.items()},
        not_cut=not_cut,
        kept=verdict.kept,
        loss=verdict.loss,
        earlier_loss=verdict.earlier_loss,
        judged_on=verdict.judged_on,
        judged_by=verdict.judged_by,
    )


def _features(encoder: Encoder, data: Dataset, cache: FeatureCache) -> tuple[int, str | None, list[Source]]:
    """Where the encoder is cut, and the features there of both parts of the data.

    An encoder that cannot be cut is run whole, from cut 0, to the same result; the reason is told.
    """
    cut, splits = encoder.num_frozen, (data.train.examples, data.validation.examples)
    try:
        check_cut(encoder)
        return cut, None, [cache.get(encoder, examples, cut) for examples in splits]
    except CutError as error:
        logger.warning("The encoder is run whole, which takes longer and comes to the same: %s", error)
        return 0, str(error), [cache.get(encoder, examples, 0) for examples in splits]


def _shuffled(features: Source, seed: int) -> Iterator[dict[str, np.ndarray]]:
    """All examples in batches of any order: data sorted by class have batches that are unlike each other."""
    rows = np.random.default_rng(seed).permutation(len(features.lengths))
    for drawn in np.array_split(rows, math.ceil(len(rows) / _VALIDATION_BATCH)):
        yield features.batch(drawn)


@dataclass(frozen=True, slots=True)
class _Work:
    """A phase, and what it runs on: features of the training and the validation part at the cut."""

    parts: ModelParts
    data: Dataset
    phase: Phase
    seed: int
    balanced: bool
    features: Source
    validation: Source
    cut: int
    distribution: tf.distribute.Strategy | None

    def variables(self) -> list[keras.Variable]:
        """What the model reads or changes: what is behind the cut, and the state of what is random."""
        encoder, head = self.parts.encoder, self.parts.head
        frozen = {id(variable) for block in encoder.blocks[: self.cut] for variable in block.variables}
        return [variable for variable in (*encoder.variables, *head.variables) if id(variable) not in frozen]

    def model(self) -> keras.Model:
        """The model from the cut to the logits, or to the embeddings; its weights are those of the whole."""
        inputs, suffix = inputs_of(self.features), Suffix(self.parts.encoder, self.cut, self.phase.jit_compile)
        if not isinstance(self.features, InParts):
            return keras.Model(inputs, self.parts.head(suffix(inputs)))
        embeddings = keras.ops.concatenate([suffix(part) for part in self.features.parts(inputs)])
        return keras.Model(inputs, embeddings if self.phase.objective == "contrastive" else self.parts.head(embeddings))

    def rows(self) -> Epochs | Drawn:
        """Which examples each batch has."""
        rng = np.random.default_rng(self.seed)
        if self.phase.objective == "contrastive":
            lengths = self.features.lengths
            return Drawn(self.data.train.labels, lengths, self.phase.batch_size, self.phase.steps, rng)
        return self.epochs(self.features, self.phase.batch_size, rng)

    def epochs(self, features: Source, batch_size: int, rng: np.random.Generator | None) -> Epochs:
        """Which examples of one of the parts of the data each batch has, all of them once."""
        parts = features.num_parts if isinstance(features, InParts) else 1
        return Epochs(features.lengths, batch_size, rng, parts=parts, smallest=num_replicas(self.distribution))

    def optimizer(self, num_steps: int) -> keras.optimizers.Optimizer:
        """AdamW with the rates of the phase: the top block that trains has the head's, each below it a lower one."""
        phase, encoder = self.phase, self.parts.encoder
        trained = [i for i, block in enumerate(encoder.blocks) if any(v.trainable for v in block.variables)]
        factors = {
            id(variable): phase.layer_decay ** (trained[-1] - i)
            for i in trained
            for variable in encoder.blocks[i].variables
        }
        weights = [*encoder.trainable_variables, *self.parts.head.trainable_variables]
        return BlockwiseAdamW(
            with_warmup(phase.learning_rate, phase.warmup, num_steps),
            factors,
            weight_decay=phase.weight_decay,
            l2_sp=phase.l2_sp,
            decayed=frozenset(id(v) for v in weights if not is_bias_or_norm(v)),
        )


def _solve(work: _Work) -> dict[str, list[float]]:
    data, embeddings = work.data, work.features.batch(np.arange(len(work.data.train)))[INPUTS]
    is_regression = data.task == "regression"
    labels = targets(data.train.labels, work.parts)[:, 0] if is_regression else data.train.labels
    solved = solve_linear(
        embeddings,
        labels,
        task=data.task,
        seed=work.seed,
        balanced=work.balanced,
        groups=data.train.groups,
        is_derived=data.train.is_derived,
    )
    work.parts.head.get_layer("logits").set_weights([solved.kernel, solved.bias])
    return {} if solved.loss is None else {"cross_validation_loss": [solved.loss]}


def _fit(work: _Work, on_epoch: Callable[[dict[str, float]], None] | None) -> dict[str, list[float]]:
    model, phase, data, rows = work.model(), work.phase, work.data, work.rows()
    epochs = 1 if isinstance(rows, Drawn) else phase.epochs
    head_only = work.cut == len(work.parts.encoder.blocks) and work.distribution is None
    contrastive = phase.objective == "contrastive"
    model.compile(
        work.optimizer(epochs * len(rows)),
        contrastive_loss(phase.temperature) if contrastive else loss_of(data.task, phase.label_smoothing),
        jit_compile=False,
        steps_per_execution=len(rows) if head_only else 1,
    )
    model.optimizer.build(model.trainable_variables)  # inside of the traced step it takes seconds, and a second trace
    wanted = data.train.labels.astype("int32") if isinstance(rows, Drawn) else targets(data.train.labels, work.parts)
    if work.distribution is not None:
        prepare_fit(model, wanted)
    validation = None
    if len(data.validation) and not isinstance(rows, Drawn):
        expected = targets(data.validation.labels, work.parts)
        size = max(phase.batch_size, _VALIDATION_BATCH)
        order = work.epochs(work.validation, size, None)
        validation = batches(work.validation, expected, _ones(data.validation), order)
    if head_only:
        given = resident(work.features, wanted, _shares(work), batch_size=phase.batch_size, seed=work.seed)
    else:
        given = batches(work.features, wanted, _shares(work), rows)
    with progress(f"Training, phase {phase.name}", epochs * len(rows)) as advance:
        callbacks = [_Advance(advance)]
        if validation is not None:  # without a validation part there is nothing to choose an epoch by: all are run
            stop = keras.callbacks.EarlyStopping("val_loss", patience=phase.patience, restore_best_weights=True)
            callbacks.append(stop)
        if on_epoch is not None:
            callbacks.append(keras.callbacks.LambdaCallback(on_epoch_end=lambda _, logs: on_epoch(dict(logs))))
        return model.fit(
            given,
            validation_data=validation,
            epochs=epochs,
            callbacks=callbacks,
            shuffle=False,  # the batches are shuffled already
            verbose=0,
        ).history


class _Advance(keras.callbacks.Callback):
    """Moves a progress bar on by the steps that were taken, which may be many at once."""

    def __init__(self, advance: Callable[[int], None]) -> None:
        super().__init__()
        self._advance, self._done = advance, 0

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Steps are counted from the first of the epoch on."""
        self._done = 0

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """The batch is the last one that was taken."""
        self._advance(batch + 1 - self._done)
        self._done = batch + 1


def _shares(work: _Work) -> np.ndarray:
    """How much each training example counts."""
    if not work.balanced:
        return _ones(work.data.train)
    weights = class_weights(work.data.train, len(work.data.class_names))
    return np.array([weights[int(label)] for label in work.data.train.labels], "float32")


def _ones(split: Split) -> np.ndarray:
    return np.ones(len(split), "float32")
