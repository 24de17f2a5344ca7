"""Geometry of training and evaluation pictures: one 2x3 matrix a picture, for its pixels, its mask and its keypoints.

Frame: continuous, x right, y down; pixel (row i, column j) covers [j, j+1) x [i, i+1), its centre lies at +0.5. A
matrix ``m`` (2, 3) float64 takes a point of the source picture to the output: (x', y') = m @ (x, y, 1), both in pixels.

The augmentation is the reference's (HigherHRNet, lib/dataset/transforms: RandomAffineTransform, RandomHorizontalFlip).
NumPy and OpenCV: TensorFlow's only operation that turns a picture takes three times as long as OpenCV's.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np

from ehrnet_tf.config import AugmentConfig
from ehrnet_tf.runtime.letterbox import by_index, fit, warp


def random_matrix(
    height: int, width: int, size: int, augment: AugmentConfig, rng: np.random.Generator
) -> tuple[np.ndarray, bool]:
    """A random square window of the picture, turned, moved and perhaps mirrored, as the whole output.

    The window's side is the picture's short side times U(augment.scale); it is turned by U(-rotation, rotation) degrees
    about its centre, which is the picture's centre moved along each axis by U(-translate, translate) sides; with
    probability ``flip`` the result is mirrored left to right.

    Args:
      height, width: of the source picture, pixels.
      size: side of the square output, pixels.
      augment: the ranges.
      rng: draws five numbers.

    Returns:
      The matrix source → output (2, 3), and whether it mirrors.
    """
    side = min(height, width) * rng.uniform(*augment.scale)
    degrees = rng.uniform(-augment.rotation, augment.rotation)
    move_x, move_y = rng.uniform(-augment.translate, augment.translate, 2) * side
    mirrored = bool(rng.random() < augment.flip)
    matrix = window_matrix(width / 2 + move_x, height / 2 + move_y, side, degrees, size)
    return (mirror_matrix(matrix, size) if mirrored else matrix), mirrored


def window_matrix(centre_x: float, centre_y: float, side: float, degrees: float, size: int) -> np.ndarray:
    """The matrix that makes a square window of the source the whole output.

    Args:
      centre_x, centre_y, side: the window, source pixels.
      degrees: how far the picture's content is turned, from the x axis towards the y axis (clockwise on the screen).
      size: side of the output, pixels.

    Returns:
      (2, 3), source → output.
    """
    angle = math.radians(degrees)
    cos, sin = math.cos(angle) * size / side, math.sin(angle) * size / side
    return np.array(
        [
            [cos, -sin, size / 2 - cos * centre_x + sin * centre_y],
            [sin, cos, size / 2 - sin * centre_x - cos * centre_y],
        ]
    )


def mirror_matrix(matrix: np.ndarray, size: int) -> np.ndarray:
    """``matrix`` (2, 3) followed by mirroring the output of width ``size`` left to right: x' → size - x'."""
    return matrix * [[-1.0], [1.0]] + [[0, 0, size], [0, 0, 0]]


def letterbox_matrix(height: int, width: int, size: int) -> np.ndarray:
    """The matrix (2, 3) that fits the whole picture, unturned, into the middle of a square (`runtime.letterbox`)."""
    box = fit((height, width), (size, size))
    return np.array([[box.scale, 0, box.dx], [0, box.scale, box.dy]])


def warp_picture(picture: np.ndarray, matrix: np.ndarray, size: int) -> np.ndarray:
    """Warps a picture (H, W, C) uint8 to (size, size, C) uint8 as `runtime.letterbox.warp` does."""
    return warp(picture, matrix, (size, size))


def warp_mask(mask: np.ndarray, matrix: np.ndarray, size: int) -> np.ndarray:
    """Warps a mask; what lies outside the source is 0.

    Args:
      mask: (H, W) uint8, nonzero where the loss counts.
      matrix: (2, 3), source → output.
      size: side of the output.

    Returns:
      (size, size) uint8: the source's value under each cell's centre.
    """
    return cv2.warpAffine(mask, by_index(matrix), (size, size), flags=cv2.INTER_NEAREST)


def warp_keypoints(keypoints: np.ndarray, matrix: np.ndarray, size: int) -> np.ndarray:
    """Moves keypoints; those that are unlabelled or leave [0, size) become (0, 0, 0).

    Args:
      keypoints: (P, K, 3): x, y, v in source pixels.
      matrix: (2, 3), source → output.
      size: side of the output, pixels.

    Returns:
      (P, K, 3) float32 in output pixels.
    """
    moved = (keypoints[..., :2] @ matrix[:, :2].T + matrix[:, 2]).astype(np.float32)
    inside = ((moved >= 0) & (moved < size)).all(axis=-1) & (keypoints[..., 2] > 0)
    return np.where(inside[..., None], np.concatenate([moved, keypoints[..., 2:]], axis=-1), 0).astype(np.float32)


def mirror_keypoints(keypoints: np.ndarray, flip_order: Sequence[int]) -> np.ndarray:
    """Swaps left and right of (P, K, 3) keypoints by ``KeypointSet.flip_order``; a mirroring matrix moves them."""
    return keypoints[:, list(flip_order)]
