"""Training targets of a batch: Gaussian heat-maps and the places where the tag loss reads the tag map.

B pictures, P people (padded), K keypoints. Frame: continuous map cells, x right, y down; cell (row i, column j) covers
[j, j+1) x [i, i+1), so that a keypoint in input pixels divided by the map's stride is one in cells.

The formulas are the reference's (HigherHRNet, lib/dataset/target_generators: HeatmapGenerator, JointsGenerator).
"""

from __future__ import annotations

import tensorflow as tf


def gaussian_heatmaps(
    keypoints: tf.Tensor, height: int, width: int, sigma: float = 2.0, subpixel: bool = False
) -> tf.Tensor:
    """Heat-maps with a Gaussian of height 1 on every keypoint, the maximum where people overlap.

    The Gaussian lies at the centre of the keypoint's cell and ends 3 sigma + 1 cells from it (a 15x15 window at sigma
    2); with ``subpixel``, in the same window, at the keypoint itself (unbiased encoding, DARK, arXiv 1910.06278).

    Args:
      keypoints: (B, P, K, 3) float32: x, y in map cells, v; v = 0 or a centre outside the map draws nothing.
      height: of the maps, cells.
      width: of the maps, cells.
      sigma: standard deviation, cells.
      subpixel: see above.

    Returns:
      (B, height, width, K) float32.
    """
    batch, k = tf.shape(keypoints)[0], keypoints.shape[2]
    cells, inside = _cells(keypoints, height, width)
    where = tf.where(inside)  # (N, 3): picture, person, keypoint
    centre = tf.gather_nd(cells, where)  # (N, 2): x, y

    radius = round(3 * sigma + 1)
    offsets = tf.range(-radius, radius + 1)
    x = centre[:, 0, None] + offsets  # (N, window)
    y = centre[:, 1, None] + offsets
    exact = tf.gather_nd(keypoints[..., :2], where) if subpixel else tf.cast(centre, tf.float32) + 0.5
    profile_x = tf.where((x >= 0) & (x < width), _profile(x, exact[:, 0, None], sigma), 0.0)
    profile_y = tf.where((y >= 0) & (y < height), _profile(y, exact[:, 1, None], sigma), 0.0)
    values = profile_y[:, :, None] * profile_x[:, None, :]  # (N, window, window), 0 beyond the map's edge

    x, y = tf.clip_by_value(x, 0, width - 1), tf.clip_by_value(y, 0, height - 1)
    picture, keypoint = tf.cast(where[:, 0], tf.int32), tf.cast(where[:, 2], tf.int32)
    row = (picture[:, None] * height + y)[:, :, None] * width
    index = (row + x[:, None, :]) * k + keypoint[:, None, None]
    flat = tf.tensor_scatter_nd_max(
        tf.zeros([batch * height * width * k]), tf.reshape(index, [-1, 1]), tf.reshape(values, [-1])
    )
    return tf.reshape(flat, [batch, height, width, k])


def _profile(cells: tf.Tensor, centre: tf.Tensor, sigma: float) -> tf.Tensor:
    """A Gaussian of height 1 at the centres of the given cells."""
    return tf.exp(-((tf.cast(cells, tf.float32) + 0.5 - centre) ** 2) / (2 * sigma**2))


def tag_joints(keypoints: tf.Tensor, height: int, width: int, max_people: int, radius: int = 0) -> tf.Tensor:
    """Where each person's tags stand in the tag map.

    The decoder reads tags between cells, and at the heat-maps' peak rather than the keypoint; with a ``radius`` above 0
    the loss sees those cells as well (the reference: only the keypoint's).

    Args:
      keypoints: (B, P, K, 3) float32: x, y in map cells, v.
      height: of the tag map, cells.
      width: of the tag map, cells.
      max_people: people beyond these are left out.
      radius: the n = (2 radius + 1)² cells round a keypoint are given, row by row, those on the map.

    Returns:
      (B, max_people, K·n, 2) int32: entry [b, p, k·n + i] is the i-th cell of joint k of person p: the index
      (y * width + x) * K + k into a tag map (height, width, K) laid out flat, and 1; or 0, 0 where it is absent.
    """
    batch, k = tf.shape(keypoints)[0], keypoints.shape[2]
    keypoints = keypoints[:, :max_people]
    cells, inside = _cells(keypoints, height, width)
    steps = tf.range(-radius, radius + 1)
    around = tf.reshape(tf.stack(tf.meshgrid(steps, steps), axis=-1), [-1, 2])  # (n, 2): x, y
    cells = cells[:, :, :, None, :] + around
    inside = inside[..., None] & tf.reduce_all((cells >= 0) & (cells < [width, height]), axis=-1)
    index = (cells[..., 1] * width + cells[..., 0]) * k + tf.range(k)[:, None]
    flag = tf.cast(inside, tf.int32)
    joints = tf.stack([index * flag, flag], axis=-1)  # (B, P, K, n, 2)
    joints = tf.pad(joints, [[0, 0], [0, max_people - tf.shape(joints)[1]], [0, 0], [0, 0], [0, 0]])
    return tf.reshape(joints, [batch, max_people, k * (2 * radius + 1) ** 2, 2])


def _cells(keypoints: tf.Tensor, height: int, width: int) -> tuple[tf.Tensor, tf.Tensor]:
    """The integer cells x, y (B, P, K, 2) int32 of keypoints, and which are labelled and on the map (B, P, K) bool."""
    cells = tf.cast(keypoints[..., :2], tf.int32)  # cut towards 0, as the reference does
    on_map = tf.reduce_all((cells >= 0) & (cells < [width, height]), axis=-1)
    return cells, on_map & (keypoints[..., 2] > 0)
