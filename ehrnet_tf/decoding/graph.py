"""The live decoder as a TensorFlow graph of fixed shapes: the file that finds the people itself.

Built of operators that TFLite has built in and ONNX knows at opset 17; no loop, no dynamic shape. What differs from
`live.decode_live`: people and candidates are limited to a fixed number, grouping stops after a fixed number of rounds,
and a joint that a person lacks is looked for among the candidates alone, at the fitted place.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from ehrnet_tf.decoding.decoder import DecoderSettings, grouping_order
from ehrnet_tf.decoding.live import EARLIER, FIT, FLATTEST, LOWEST, PEOPLE, ROUND
from ehrnet_tf.errors import UsageError

ROUNDS = 2  # of mutual best pairs a keypoint; the third changes no AP in docs/decoding.md
_SAMPLED = 16  # of so many pixels along an edge, one tells padding from picture
_FAR = 1e6  # added to the cost of pairs that must not be


def find_people(
    image: tf.Tensor,
    heatmaps: tf.Tensor,
    tags: tf.Tensor,
    settings: DecoderSettings | None = None,
    grouping: Sequence[int] | None = None,
    people: int = PEOPLE,
    rounds: int = ROUNDS,
) -> dict[str, tf.Tensor]:
    """Finds the people in one picture's maps.

    Args:
      image: (1, S, R, 3) uint8 network input. Black rows and columns at its edges are taken for padding, where nobody
        is looked for; every sixteenth pixel of a row or column is read for that.
      heatmaps: (1, H, W, K) float32, stage 2's.
      tags: (1, h, w, K) float32, stage 1's.
      settings: the decoder's settings; ``max_people`` is not used.
      grouping: the K keypoint indices in the order in which candidates are grouped; default as in `decode`.
      people: P, the most people found, and the most candidates a keypoint.
      rounds: how often candidates and people choose each other, for every keypoint.

    Returns:
      "keypoints" (1, P, K, 3) float32: x (right), y (down), score, in pixels of ``image`` and the continuous frame, all
      0 for an absent joint; "scores" (1, P) float32: the mean of a person's K joint scores before refinement, 0:
      nobody. People stand in the order in which they were opened.

    Raises:
      UsageError: an impossible setting or grouping, ``people`` or ``rounds`` below 1.
    """
    settings = settings or DecoderSettings()
    for name, number in (("people", people), ("rounds", rounds)):
        if number < 1:
            raise UsageError(f"{name} {number}: must be at least 1")
    _, height, width, count = heatmaps.shape
    order = grouping_order(grouping, count)
    rows, columns = _picture_cells(image, height, 1), _picture_cells(image, width, 2)
    untied = _untied(height, width, settings.nms_kernel)
    heat = heatmaps * (rows[:, None] * columns * untied)[None, :, :, None]
    people = min(people, height * width)

    value, y, x = _candidates(heat, people, settings.nms_kernel)
    value /= tf.gather(untied.ravel(), y * width + x)
    keypoint = tf.range(count)[:, None]
    tag = _read(tags, (2 * y + 1) * tags.shape[1] // (2 * height), (2 * x + 1) * tags.shape[2] // (2 * width), keypoint)
    owns, mean, joints = _group(value, tag, settings, order, rounds)
    place = tf.cast(tf.stack((x, y), axis=-1), tf.float32) + 0.5
    if settings.adjust:
        place += _fit(heat, y, x, keypoint, _ends(rows), _ends(columns))
    scale = np.array([image.shape[2] / width, image.shape[1] / height], np.float32)
    found = tf.concat((place * scale, value[:, :, None]), axis=2)  # (K, candidates, 3)
    keypoints = tf.matmul(owns, found, transpose_a=True)  # (K, P, 3)
    scores = tf.reduce_mean(keypoints[:, :, 2], axis=0)
    if settings.refine:
        keypoints += _missing(value, tag, owns, mean, joints, found, settings.threshold)
    return {"keypoints": tf.transpose(keypoints, (1, 0, 2))[None], "scores": scores[None]}


def _picture_cells(image: tf.Tensor, cells: int, axis: int) -> tf.Tensor:
    """(cells,) 1 for rows (axis 1) or columns (axis 2) of cells with picture in them, 0 beyond."""
    if axis == 1:
        sample = tf.cast(image[:, :, ::_SAMPLED], tf.float32)
    else:
        sample = tf.cast(image[:, ::_SAMPLED], tf.float32)
        sample = tf.reduce_max(tf.reshape(sample, (sample.shape[1], -1)), axis=0)
    bright = tf.minimum(tf.reduce_max(tf.reshape(sample, (cells, -1)), axis=1), 1.0)
    before = tf.cumsum(bright)
    return tf.minimum(before, 1.0) * tf.minimum(before[-1:] - before + bright, 1.0)


def _untied(height: int, width: int, kernel: int) -> np.ndarray:
    """(height, width) factors that hardly differ from 1, but for touching cells: of equal ones one is a maximum.

    An integer network's maps have equal neighbours where a keypoint lies between two cells.
    """
    y, x = np.indices((height, width)) % 2
    return (1 - 5e-7 * (2 * y + x) * (kernel > 1)).astype(np.float32)


def _ends(inside: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """The first and the last cell with picture in it."""
    first = tf.argmax(inside, output_type=tf.int32)
    return first, first + tf.maximum(tf.cast(tf.reduce_sum(inside), tf.int32), 1) - 1


def _candidates(heat: tf.Tensor, count: int, kernel: int) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """The highest local maxima: heat (K, count) float32, descending, and the cells' y and x, int32.

    No two maxima of a window of 3 or more share a block of 2x2 cells, so blocks are sorted instead of cells.
    """
    _, height, width, channels = heat.shape
    highest = tf.nn.max_pool2d(tf.nn.max_pool2d(heat, (1, kernel), 1, "SAME"), (kernel, 1), 1, "SAME")
    peaks = tf.where(heat >= highest, heat, 0.0)
    side = 2 if kernel >= 3 and height * width >= 4 * count else 1
    blocks = tf.nn.max_pool2d(peaks, side, side, "SAME")
    rows, columns = blocks.shape[1:3]
    value, index = tf.math.top_k(tf.transpose(tf.reshape(blocks, (rows * columns, channels))), count)
    y, x = index // columns * side, index % columns * side
    if side == 1:
        return value, y, x
    step_y, step_x = np.array([0, 0, 1, 1], np.int32), np.array([0, 1, 0, 1], np.int32)
    keypoint = tf.range(channels)[:, None, None]
    cell = tf.argmax(_read(peaks, y[:, :, None] + step_y, x[:, :, None] + step_x, keypoint), 2, output_type=tf.int32)
    return value, tf.minimum(y + cell // 2, height - 1), tf.minimum(x + cell % 2, width - 1)


def _read(maps: tf.Tensor, y: tf.Tensor, x: tf.Tensor, keypoint: tf.Tensor) -> tf.Tensor:
    """Values of (1, H, W, K) maps at cells; those beyond the edge are taken from the edge."""
    _, height, width, count = maps.shape
    y, x = tf.clip_by_value(y, 0, height - 1), tf.clip_by_value(x, 0, width - 1)
    return tf.gather(tf.reshape(maps, [-1]), (y * width + x) * count + keypoint)


def _fit(
    heat: tf.Tensor,
    y: tf.Tensor,
    x: tf.Tensor,
    keypoint: tf.Tensor,
    rows: tuple[tf.Tensor, tf.Tensor],
    columns: tuple[tf.Tensor, tf.Tensor],
) -> tf.Tensor:
    """(K, candidates, 2): how far from the peaks' centres the fitted maxima lie, in cells; see `live.fit`.

    Neighbours beyond the picture, whose first and last rows and columns are given, are taken from its edge.
    """
    step_y, step_x = np.repeat([-1, 0, 1], 3).astype(np.int32), np.tile([-1, 0, 1], 3).astype(np.int32)
    near_y = tf.clip_by_value(y[:, :, None] + step_y, *rows)
    near_x = tf.clip_by_value(x[:, :, None] + step_x, *columns)
    window = _read(heat, near_y, near_x, keypoint[:, :, None])
    least = tf.maximum(window[:, :, 4:5] * LOWEST, np.finfo(np.float32).tiny)
    logs = tf.reshape(tf.math.log(tf.maximum(window, least)), (-1, 9))
    coefficients = tf.reshape(tf.matmul(logs, FIT), (*y.shape, 5))
    slope_x, slope_y, curve_x, curve_y, twist = (coefficients[:, :, i] for i in range(5))
    determinant = curve_x * curve_y - twist * twist
    round_top = tf.logical_and(determinant > FLATTEST, curve_x < 0)
    determinant = tf.where(round_top, determinant, 1.0)
    offset = tf.stack((slope_y * twist - slope_x * curve_y, slope_x * twist - slope_y * curve_x), axis=-1)
    offset = tf.clip_by_value(offset / determinant[:, :, None], -1.0, 1.0)
    return tf.where(round_top[:, :, None], offset, 0.0)


def _group(
    value: tf.Tensor, tag: tf.Tensor, settings: DecoderSettings, order: Sequence[int], rounds: int
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Assigns candidates to people by their tags, keypoint by keypoint, in rounds of mutual best pairs.

    Every candidate chooses the person of least cost and every person the candidate; who chose each other belongs
    together. Repeated until nothing changes, that is `live.group_greedily`.

    Args:
      value: (K, C) heat, descending.
      tag: (K, C).
      settings: ``threshold`` and ``tag_threshold`` count.
      order: of the K keypoints.
      rounds: how many.

    Returns:
      (K, C, P) 1 where a candidate belongs to a person, with P = C; (1, P) mean tags; (1, P) numbers of joints.
    """
    slots = tf.constant(np.arange(value.shape[1], dtype=np.float32)[None])
    sums = joints = tf.zeros_like(slots)
    opened = tf.zeros((1, 1))
    valid = tf.cast(value > settings.threshold, tf.float32)
    owns: list[tf.Tensor] = [valid] * len(order)
    for visit, k in enumerate(order):
        own_tag, stranger = tag[k][:, None], valid[k][:, None]
        joined = tf.zeros_like(stranger)
        if visit:
            distance = tf.abs(own_tag - sums / tf.maximum(joints, 1.0))
            free = tf.cast(distance < settings.tag_threshold, tf.float32) * stranger * tf.minimum(joints, 1.0)
            cost = tf.round(distance) * ROUND + slots * EARLIER - value[k][:, None]
            for _ in range(rounds):
                cost += (1 - free) * _FAR
                chosen = _one_hot(tf.argmin(cost, axis=1, output_type=tf.int32), cost.shape[1])
                choosing = tf.transpose(_one_hot(tf.argmin(cost, axis=0, output_type=tf.int32), cost.shape[0]))
                pairs = chosen * choosing * free
                joined += pairs
                taken = tf.reduce_sum(pairs, axis=1, keepdims=True), tf.reduce_sum(pairs, axis=0, keepdims=True)
                free *= (1 - taken[0]) * (1 - taken[1])
                stranger -= taken[0]
        number = tf.cumsum(stranger) - stranger + opened
        owns[k] = joined + tf.cast(tf.equal(number, slots), tf.float32) * stranger
        opened += tf.reduce_sum(stranger, axis=0, keepdims=True)
        sums += tf.reduce_sum(owns[k] * own_tag, axis=0, keepdims=True)
        joints += tf.reduce_sum(owns[k], axis=0, keepdims=True)
    return tf.stack(owns), sums / tf.maximum(joints, 1.0), joints


def _one_hot(index: tf.Tensor, depth: int) -> tf.Tensor:
    return tf.one_hot(index, depth, dtype=tf.float32)


def _missing(
    value: tf.Tensor,
    tag: tf.Tensor,
    owns: tf.Tensor,
    mean: tf.Tensor,
    joints: tf.Tensor,
    found: tf.Tensor,
    threshold: float,
) -> tf.Tensor:
    """(K, P, 3): the joints that people lack, at the candidate with the highest positive heat - round(tag distance)."""
    gain = value[:, :, None] - tf.round(tf.abs(tag[:, :, None] - mean))
    gain = tf.where(value[:, :, None] > threshold, gain, 0.0)
    lacking = (1 - tf.reduce_sum(owns, axis=1)) * tf.minimum(joints, 1.0)
    lacking *= tf.cast(tf.reduce_max(gain, axis=1) > 0, tf.float32)  # (K, P)
    chosen = _one_hot(tf.argmax(gain, axis=1, output_type=tf.int32), value.shape[1])  # (K, P, candidates)
    return tf.matmul(chosen * lacking[:, :, None], found)
