"""Geometry of training and evaluation pictures: one 2x3 matrix a picture, for its pixels, its mask and its keypoints.

Frame: continuous, x right, y down; pixel (row i, column j) covers [j, j+1) x [i, i+1), its centre lies at +0.5. A
matrix ``m`` (2, 3) float32 takes a point of the source picture to the output: (x', y') = m @ (x, y, 1), both in pixels.

The augmentation is the reference's (HigherHRNet, lib/dataset/transforms: RandomAffineTransform, RandomHorizontalFlip).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import tensorflow as tf

from ehrnet_tf.config import AugmentConfig


def random_matrix(
    height: tf.Tensor, width: tf.Tensor, size: int, augment: AugmentConfig, seed: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """A random square window of the picture, turned, moved and perhaps mirrored, as the whole output.

    The window's side is the picture's short side times U(augment.scale); it is turned by U(-rotation, rotation) degrees
    about its centre, which is the picture's centre moved along each axis by U(-translate, translate) sides; with
    probability ``flip`` the result is mirrored left to right.

    Args:
      height, width: of the source picture, pixels, scalars of any number type.
      size: side of the square output, pixels.
      augment: the ranges.
      seed: (2,) integers; the same seed gives the same matrix.

    Returns:
      The matrix source → output (2, 3) float32, and whether it mirrors, () bool.
    """
    height, width = tf.cast(height, tf.float32), tf.cast(width, tf.float32)
    low = [augment.scale[0], -augment.rotation, -augment.translate, -augment.translate, 0.0]
    high = [augment.scale[1], augment.rotation, augment.translate, augment.translate, 1.0]
    drawn = tf.constant(low) + (tf.constant(high) - tf.constant(low)) * tf.random.stateless_uniform([5], seed)
    side = tf.minimum(height, width) * drawn[0]
    mirrored = drawn[4] < augment.flip
    matrix = window_matrix(
        centre_x=width / 2 + drawn[2] * side,
        centre_y=height / 2 + drawn[3] * side,
        side=side,
        degrees=drawn[1],
        size=size,
    )
    return tf.where(mirrored, mirror_matrix(matrix, size), matrix), mirrored


def window_matrix(
    centre_x: tf.Tensor, centre_y: tf.Tensor, side: tf.Tensor, degrees: tf.Tensor, size: int
) -> tf.Tensor:
    """The matrix that makes a square window of the source the whole output.

    Args:
      centre_x, centre_y, side: the window, source pixels, float32 scalars.
      degrees: how far the picture's content is turned, from the x axis towards the y axis (clockwise on the screen).
      size: side of the output, pixels.

    Returns:
      (2, 3) float32, source → output.
    """
    angle = degrees * (math.pi / 180)
    cos, sin = tf.cos(angle) * size / side, tf.sin(angle) * size / side
    return tf.stack(
        [
            tf.stack([cos, -sin, size / 2 - cos * centre_x + sin * centre_y]),
            tf.stack([sin, cos, size / 2 - sin * centre_x - cos * centre_y]),
        ]
    )


def mirror_matrix(matrix: tf.Tensor, size: int) -> tf.Tensor:
    """``matrix`` (2, 3) followed by mirroring the output of width ``size`` left to right: x' → size - x'."""
    return matrix * [[-1.0], [1.0]] + [[0.0, 0.0, float(size)], [0.0, 0.0, 0.0]]


def letterbox_matrix(height: tf.Tensor, width: tf.Tensor, size: int) -> tf.Tensor:
    """The matrix that fits the whole picture, unturned, into the middle of a square output.

    Args:
      height, width: of the source picture, pixels, scalars of any number type.
      size: side of the output, pixels; the scale is min(size / height, size / width).

    Returns:
      (2, 3) float32, source → output.
    """
    height, width = tf.cast(height, tf.float32), tf.cast(width, tf.float32)
    scale = size / tf.maximum(height, width)
    return tf.stack(
        [
            tf.stack([scale, 0.0, (size - scale * width) / 2]),
            tf.stack([0.0, scale, (size - scale * height) / 2]),
        ]
    )


def scale_matrix(matrix: tf.Tensor, factor: float) -> tf.Tensor:
    """``matrix`` (2, 3) followed by scaling the output by ``factor``, as for maps at 1/4 of the input (0.25)."""
    return matrix * factor


def warp_picture(picture: tf.Tensor, matrix: tf.Tensor, size: int) -> tf.Tensor:
    """Warps a picture, bilinearly; what lies outside the source is 0.

    As `runtime.letterbox` does it: a picture that shrinks to less than half is first averaged over areas to about twice
    the size it ends with, lest bilinear sampling skips pixels.

    Args:
      picture: (H, W, C) uint8.
      matrix: (2, 3) float32, source → output.
      size: side of the output.

    Returns:
      (size, size, C) uint8.
    """
    scale = tf.sqrt(tf.abs(tf.linalg.det(matrix[:, :2])))
    picture = tf.cast(picture, tf.float32)
    picture, matrix = tf.cond(scale < 0.5, lambda: _reduce(picture, matrix, 2 * scale), lambda: (picture, matrix))
    return tf.cast(tf.round(_warp(picture, matrix, size, "BILINEAR")), tf.uint8)


def _reduce(picture: tf.Tensor, matrix: tf.Tensor, factor: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """A picture (H, W, C) float32 about ``factor`` times as large, averaged over areas, and the matrix for it."""
    sides = tf.shape(picture)[:2]
    reduced = tf.maximum(1, tf.cast(tf.round(factor * tf.cast(sides, tf.float32)), tf.int32))
    ratio = tf.cast(sides / reduced, tf.float32)  # height, width
    matrix = matrix * tf.stack([ratio[1], ratio[0], 1.0])
    return tf.round(tf.image.resize(picture[None], reduced, "area")[0]), matrix


def warp_mask(mask: tf.Tensor, matrix: tf.Tensor, size: int) -> tf.Tensor:
    """Warps a mask; what lies outside the source is 0.

    Args:
      mask: (H, W, 1) uint8, nonzero where the loss counts.
      matrix: (2, 3) float32, source → output.
      size: side of the output.

    Returns:
      (size, size) float32, 1 in the cells whose centre falls on a nonzero pixel of the source, 0 elsewhere.
    """
    return tf.cast(_warp(mask, matrix, size, "NEAREST")[..., 0] > 0, tf.float32)


def warp_keypoints(keypoints: tf.Tensor, matrix: tf.Tensor, size: int) -> tf.Tensor:
    """Moves keypoints; those that are unlabelled or leave [0, size) become (0, 0, 0).

    Args:
      keypoints: (P, K, 3) float32: x, y, v in source pixels.
      matrix: (2, 3) float32, source → output.
      size: side of the output, pixels.

    Returns:
      (P, K, 3) float32 in output pixels.
    """
    moved = tf.einsum("ij,pkj->pki", matrix[:, :2], keypoints[..., :2]) + matrix[:, 2]
    inside = tf.reduce_all((moved >= 0) & (moved < size), axis=-1) & (keypoints[..., 2] > 0)
    return tf.where(inside[..., None], tf.concat([moved, keypoints[..., 2:]], axis=-1), 0.0)


def mirror_keypoints(keypoints: tf.Tensor, flip_order: Sequence[int]) -> tf.Tensor:
    """Swaps left and right of (P, K, 3) keypoints by ``KeypointSet.flip_order``; a mirroring matrix moves them."""
    return tf.gather(keypoints, list(flip_order), axis=1)


def _warp(picture: tf.Tensor, matrix: tf.Tensor, size: int, interpolation: str) -> tf.Tensor:
    """(H, W, C) → (size, size, C) in the picture's dtype."""
    a, b, tx, c, d, ty = tf.unstack(tf.reshape(matrix, [6]))
    determinant = a * d - b * c
    a, b, c, d = d / determinant, -b / determinant, -c / determinant, a / determinant  # output → source
    tx, ty = -(a * tx + b * ty), -(c * tx + d * ty)
    # The op puts pixel centres at integers: source index = M (output index + 0.5) + t - 0.5.
    tx, ty = tx + (a + b) / 2 - 0.5, ty + (c + d) / 2 - 0.5
    return tf.raw_ops.ImageProjectiveTransformV3(
        images=picture[None],
        transforms=tf.stack([a, b, tx, c, d, ty, 0.0, 0.0])[None],
        output_shape=[size, size],
        fill_value=0.0,
        interpolation=interpolation,
        fill_mode="CONSTANT",
    )[0]
