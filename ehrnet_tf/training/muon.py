"""Muon for convolutions: momentum whose steps are orthogonal matrices (github.com/KellerJordan/Muon).

Keras' own Muon knows two-dimensional weights only.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
from keras import ops

_NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)
_STEPS = 5


@keras.saving.register_keras_serializable("ehrnet_tf")
class Muon(keras.optimizers.Optimizer):
    """Muon on the kernels of dense convolutions, Adam on all else: depthwise kernels, biases, batch norms, outputs.

    A kernel (h, w, in, out) counts as a matrix (h * w * in, out). Its step is the orthogonal matrix nearest to the
    momentum, times learning rate * 0.2 * sqrt(larger side): as long as Adam's steps usually are (arXiv 2502.16982).

    Args:
      learning_rate: of Muon.
      adam_ratio: Adam's learning rate is this times Muon's.
      momentum: of Muon (Nesterov).
      exclude: layers whose name starts with one of these are left to Adam.
      **kwargs: see `keras.optimizers.Optimizer`.
    """

    def __init__(
        self,
        learning_rate: float | Callable = 1e-2,
        adam_ratio: float = 0.4,
        momentum: float = 0.95,
        exclude: Sequence[str] = ("head_heatmaps", "head_tags"),
        name: str = "muon",
        **kwargs: Any,
    ):
        super().__init__(learning_rate=learning_rate, name=name, **kwargs)
        self.adam_ratio, self.momentum, self.exclude = adam_ratio, momentum, tuple(exclude)
        self.beta_1, self.beta_2, self.epsilon = 0.9, 0.999, 1e-7

    def is_matrix(self, variable) -> bool:
        """Whether Muon (not Adam) is in charge of a variable."""
        layer = variable.path.split("/")[-2] if "/" in variable.path else ""
        return len(variable.shape) == 4 and min(variable.shape[2:]) > 1 and not layer.startswith(self.exclude)

    def build(self, variables):
        if self.built:
            return
        super().build(variables)
        self.momenta = [self.add_variable_from_reference(v, name="momentum") for v in variables]
        self.velocities = [
            None if self.is_matrix(v) else self.add_variable_from_reference(v, name="velocity") for v in variables
        ]

    def update_step(self, gradient, variable, learning_rate):
        index = self._get_variable_index(variable)
        rate = ops.cast(learning_rate, variable.dtype)
        gradient = ops.cast(gradient, variable.dtype)
        if self.velocities[index] is None:
            self._muon(gradient, variable, rate, self.momenta[index])
        else:
            self._adam(gradient, variable, rate * self.adam_ratio, self.momenta[index], self.velocities[index])

    def _muon(self, gradient, variable, rate, average):
        self.assign(average, average * self.momentum + gradient)
        columns = variable.shape[-1]
        rows = variable.shape[0] * variable.shape[1] * variable.shape[2]
        step = orthogonal(ops.reshape(gradient + self.momentum * average, (rows, columns)))
        self.assign_sub(variable, ops.reshape(step, variable.shape) * (rate * 0.2 * max(rows, columns) ** 0.5))

    def _adam(self, gradient, variable, rate, average, velocity):
        steps = ops.cast(self.iterations + 1, variable.dtype)
        rate = rate * ops.sqrt(1 - self.beta_2**steps) / (1 - self.beta_1**steps)
        self.assign_add(average, (gradient - average) * (1 - self.beta_1))
        self.assign_add(velocity, (ops.square(gradient) - velocity) * (1 - self.beta_2))
        self.assign_sub(variable, rate * average / (ops.sqrt(velocity) + self.epsilon))

    def get_config(self):
        mine = {"adam_ratio": self.adam_ratio, "momentum": self.momentum, "exclude": list(self.exclude)}
        return {**super().get_config(), **mine}


def orthogonal(matrix):
    """About the orthogonal factor of a matrix (singular values all near 1), by five Newton-Schulz steps.

    matrix: (rows, columns) float, not all 0.
    """
    a, b, c = _NEWTON_SCHULZ
    tall = matrix.shape[0] > matrix.shape[1]
    x = ops.transpose(matrix) if tall else matrix
    x = x / (ops.sqrt(ops.sum(ops.square(x))) + 1e-7)
    for _ in range(_STEPS):
        square = ops.matmul(x, ops.transpose(x))
        x = a * x + ops.matmul(b * square + c * ops.matmul(square, square), x)
    return ops.transpose(x) if tall else x
