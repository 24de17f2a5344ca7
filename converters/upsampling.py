"""Nearest-neighbour upsampling as operators that delegates know, whichever Keras the layers are of."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterable, Iterator
from typing import Any


@contextlib.contextmanager
def upsampling_operators(layers: Iterable[Any], whole: bool) -> Iterator[None]:
    """Changes what the upsampling layers among ``layers`` compute by, not what, while the block runs.

    Keras repeats rows and columns: two pairs of five-dimensional RESHAPE and TILE, which no delegate runs.

    Args:
      layers: of a model of fixed size.
      whole: CONCATENATION and DEPTH_TO_SPACE, which leave a graph whole under XNNPACK (it knows no resizing by nearest
        neighbours); else one RESIZE_NEAREST_NEIGHBOR, which GPU delegates and NPUs run.
    """
    chosen = [x for x in layers if type(x).__name__ == "UpSampling2D" and x.interpolation == "nearest"]
    for layer in chosen:
        doubling = whole and layer.size[0] == layer.size[1] and layer.size[0].bit_count() == 1
        layer.call = functools.partial(_double if doubling else _resize, layer.size)
    try:
        yield
    finally:
        for layer in chosen:
            del layer.call  # the class's own again


def _double(size: tuple[int, int], x: Any) -> Any:
    import tensorflow as tf

    for _ in range(size[0].bit_length() - 1):
        x = tf.nn.depth_to_space(tf.concat([x] * 4, axis=-1), 2)
    return x


def _resize(size: tuple[int, int], x: Any) -> Any:
    import tensorflow as tf

    return tf.raw_ops.ResizeNearestNeighbor(images=x, size=[s * n for s, n in zip(x.shape[1:3], size, strict=True)])
