"""AdamW with a learning rate for each block, and a pull towards the weights that training began with."""

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import keras
import tensorflow as tf

from tfembed.saved_model.graph import tf_variable


class BlockwiseAdamW(keras.optimizers.Adam):
    """AdamW whose learning rate has a factor for each variable.

    The factor scales the update: scaling the gradient would do nothing, because Adam divides by its size.

    Args:
        learning_rate: A number or a schedule.
        factors: Of the learning rate, by `id` of the Keras variable; 1 where there is none.
        weight_decay: Pull towards 0, as in AdamW: each step takes away this times the learning rate.
        l2_sp: Pull towards the values that a variable has when training begins, likewise.
        decayed: The `id` of each variable that the pulls act on.

    Example:
        >>> variable = keras.Variable([1.0])
        >>> optimizer = BlockwiseAdamW(0.1, {id(variable): 0.5})
        >>> optimizer.apply([tf.constant([3.0])], [variable])
        >>> round(float(variable.numpy()[0]), 4)
        0.95
    """

    def __init__(
        self,
        learning_rate: Any,
        factors: Mapping[int, float],
        *,
        weight_decay: float = 0.0,
        l2_sp: float = 0.0,
        decayed: frozenset[int] = frozenset(),
    ) -> None:
        super().__init__(learning_rate)
        self._pulls = (weight_decay, l2_sp)
        # In a namespace, which hides them from TensorFlow: it would track the dictionaries and refuse their keys.
        self._plan = SimpleNamespace(factors=dict(factors), decayed=decayed, by_key={}, starts={}, touched={})

    def build(self, var_list: Any) -> None:
        """Note down the factors, and where the weights are now."""
        super().build(var_list)
        for variable in var_list:
            key = self._var_key(variable)
            decays = id(variable) in self._plan.decayed
            self._plan.by_key[key] = (self._plan.factors.get(id(variable), 1.0), decays)
            self._plan.touched[key] = tf.Variable(tf.zeros(variable.shape[:1], tf.bool), trainable=False)
            if self._pulls[1] and decays:
                self._plan.starts[key] = tf.constant(variable.numpy())

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Update one variable; called by Keras."""
        key = self._var_key(variable)
        factor, decays = self._plan.by_key[key]
        rate = tf.cast(learning_rate, variable.dtype) * factor
        if decays and any(self._pulls):
            decay, l2_sp = self._pulls
            pull = decay * variable + (l2_sp * (variable - self._plan.starts[key]) if l2_sp else 0.0)
            variable.assign_sub(rate * pull)
        if tf.distribute.has_strategy():
            super().update_step(gradient, variable, rate)
            return
        index, step = self._get_variable_index(variable), tf.cast(self.iterations + 1, variable.dtype)
        weight, mean, square = (tf_variable(v) for v in (variable, self._momentums[index], self._velocities[index]))
        if isinstance(gradient, tf.IndexedSlices):
            corrected = rate * tf.sqrt(1 - self.beta_2**step) / (1 - self.beta_1**step)
            rows, summed = _touched(self._plan.touched[key], gradient)
            means = mean.sparse_read(rows) * self.beta_1 + summed * (1 - self.beta_1)
            squares = square.sparse_read(rows) * self.beta_2 + summed**2 * (1 - self.beta_2)
            mean.scatter_update(tf.IndexedSlices(means, rows))
            square.scatter_update(tf.IndexedSlices(squares, rows))
            weight.scatter_sub(tf.IndexedSlices(corrected * means / (tf.sqrt(squares) + self.epsilon), rows))
            return
        # Keras's formula in one op, without the temporary copies that it makes of every weight.
        tf.raw_ops.ResourceApplyAdam(
            var=weight.handle,
            m=mean.handle,
            v=square.handle,
            beta1_power=self.beta_1**step,
            beta2_power=self.beta_2**step,
            lr=rate,
            beta1=self.beta_1,
            beta2=self.beta_2,
            epsilon=self.epsilon,
            grad=gradient,
        )


def _touched(touched: tf.Variable, gradient: tf.IndexedSlices) -> tuple[Any, Any]:
    """The rows of a table that ever had a gradient, and the gradient of each; the others have no momentum, and stay.

    Args:
        touched: For each row of the table whether it had one so far.
        gradient: Of some rows, some of them several times.
    """
    touched.scatter_update(tf.IndexedSlices(tf.ones_like(gradient.indices, tf.bool), gradient.indices))
    rows, places = tf.where(touched)[:, 0], tf.cumsum(tf.cast(touched, tf.int32)) - 1
    return rows, tf.math.unsorted_segment_sum(gradient.values, tf.gather(places, gradient.indices), tf.size(rows))


def with_warmup(learning_rate: float, warmup: float, num_steps: int) -> Any:
    """A rate that rises from 0 in a share of the steps, and then stays.

    Args:
        learning_rate: Where it rises to.
        warmup: Share of the steps; for 0 the rate is what it is.
        num_steps: Of the whole phase.

    Example:
        >>> schedule = with_warmup(1.0, 0.5, 8)
        >>> [float(schedule(step)) for step in (0, 2, 4, 7)]
        [0.0, 0.5, 1.0, 1.0]
    """
    rising = round(warmup * num_steps)
    if not rising:
        return learning_rate
    # A decay to as much as it began with: Keras knows a warm-up only in front of a decay.
    return keras.optimizers.schedules.CosineDecay(0.0, 1, alpha=1.0, warmup_target=learning_rate, warmup_steps=rising)
