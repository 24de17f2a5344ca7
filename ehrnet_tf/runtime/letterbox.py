"""Fitting a picture into the network's input, and taking coordinates back.

Frame: continuous, x right, y down; pixel (row i, column j) covers [j, j+1) x [i, i+1), its centre lies at +0.5.
"""

from __future__ import annotations

import dataclasses
import math

import cv2
import numpy as np

from ehrnet_tf.errors import UsageError


@dataclasses.dataclass(frozen=True)
class Letterbox:
    """The map from a picture to the network's input: x' = scale·x + dx, y' = scale·y + dy, all in pixels.

    Attributes:
      scale: input pixels a picture pixel.
      dx, dy: where the picture's upper left corner lies in the input.
      image_size: (height, width) of the picture.
    """

    scale: float
    dx: float
    dy: float
    image_size: tuple[int, int]

    def to_input(self, xy: np.ndarray) -> np.ndarray:
        """(..., 2) picture coordinates x, y → (..., 2) input coordinates."""
        return np.asarray(xy) * self.scale + (self.dx, self.dy)

    def to_image(self, xy: np.ndarray) -> np.ndarray:
        """(..., 2) input coordinates x, y → (..., 2) picture coordinates, which may lie outside the picture."""
        return (np.asarray(xy) - (self.dx, self.dy)) / self.scale

    def region(self, size: tuple[int, int], stride: float = 1) -> tuple[int, int, int, int]:
        """The cells of maps that are not wholly outside the picture.

        Args:
          size: (height, width) of the maps, cells.
          stride: input pixels a cell.

        Returns:
          top, left, bottom, right; the last two exclusive.
        """
        height, width = self.image_size
        right, bottom = self.to_input((width, height)) / stride - 1e-6  # less, lest rounding errors count
        top, left = max(0, math.floor(self.dy / stride)), max(0, math.floor(self.dx / stride))
        return top, left, min(size[0], math.ceil(bottom)), min(size[1], math.ceil(right))

    def clear_padding(self, maps: np.ndarray) -> None:
        """Sets maps (H, W, K) at the input's resolution to 0, in place, where they lie wholly outside the picture."""
        top, left, bottom, right = self.region(maps.shape[:2])
        maps[:top] = maps[bottom:] = 0
        maps[:, :left] = maps[:, right:] = 0


def letterbox(image: np.ndarray, size: tuple[int, int]) -> tuple[np.ndarray, Letterbox]:
    """Scales a picture uniformly to the largest that fits, and centres it; the rest is 0.

    Pixels are made by `warp`, as in training.

    Args:
      image: (h, w, 3) uint8.
      size: (H, W) of the result, pixels.

    Returns:
      (H, W, 3) uint8, and the geometry.

    Raises:
      UsageError: the picture is not (h, w, 3) uint8 or is empty.
    """
    _check(image)
    box = fit(image.shape[:2], size)
    return warp(image, np.array([[box.scale, 0, box.dx], [0, box.scale, box.dy]]), size), box


def warp(image: np.ndarray, matrix: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Warps a picture, bilinearly; what lies outside the source is 0.

    A picture that shrinks to less than half is first averaged over areas to about twice the size it ends with, lest
    bilinear sampling skips pixels.

    Args:
      image: (h, w) or (h, w, C) uint8.
      matrix: (2, 3), picture → result, in the frame above.
      size: (H, W) of the result, pixels.

    Returns:
      (H, W) or (H, W, C) uint8.
    """
    height, width = image.shape[:2]
    scale = scale_of(matrix)
    if scale < 0.5:
        reduced = (max(1, round(2 * scale * width)), max(1, round(2 * scale * height)))
        image = cv2.resize(image, reduced, interpolation=cv2.INTER_AREA)
        matrix = matrix * [width / reduced[0], height / reduced[1], 1]
    return cv2.warpAffine(image, by_index(matrix), (size[1], size[0]), flags=cv2.INTER_LINEAR)


def scale_of(matrix: np.ndarray) -> float:
    """Result pixels a picture pixel, by the square root of the area, of a matrix (2, 3)."""
    return math.sqrt(abs(np.linalg.det(matrix[:, :2])))


def by_index(matrix: np.ndarray) -> np.ndarray:
    """A matrix (2, 3) of this module's frame for OpenCV, which puts pixel centres at integers."""
    matrix = np.array(matrix, np.float64)
    matrix[:, 2] += (matrix[:, 0] + matrix[:, 1] - 1) / 2
    return matrix


def fit(image_size: tuple[int, int], size: tuple[int, int]) -> Letterbox:
    """The geometry alone: a picture of ``image_size`` (h, w) in an input of ``size`` (H, W), pixels."""
    (h, w), (height, width) = image_size, size
    scale = min(height / h, width / w)
    return Letterbox(scale, (width - scale * w) / 2, (height - scale * h) / 2, (h, w))


def reference_size(
    image_size: tuple[int, int], nominal: int, scale: float = 1.0, smallest: float = 1.0
) -> tuple[int, int]:
    """The network input that the reference's test procedure makes of a picture.

    Source: HigherHRNet (MIT), `lib/utils/transforms.py`, `get_multi_scale_size`.

    Args:
      image_size: (height, width) of the picture, pixels.
      nominal: the model's nominal input size, pixels.
      scale: the test scale.
      smallest: the smallest scale of the run.

    Returns:
      (height, width), pixels; multiples of 64 at the smallest scale.
    """
    base = int((smallest * nominal + 63) // 64 * 64)
    short, long = sorted(image_size)
    across = int(base * scale / smallest)
    along = int(int((base / short * long + 63) // 64 * 64) * scale / smallest)
    return (across, along) if image_size[0] < image_size[1] else (along, across)


def reference_warp(image: np.ndarray, size: tuple[int, int]) -> tuple[np.ndarray, Letterbox]:
    """Puts a picture into the network input as the reference's test procedure does.

    Uniform scale, the picture's centre (int(w/2 + 0.5), int(h/2 + 0.5)) onto the input's, bilinear, the rest 0. The
    reference reckons in pixel indices here and adds half a cell later, and so does the geometry returned: poses lie
    where the reference puts them, up to half a pixel from the consistent place.

    Args:
      image: (h, w, 3) uint8.
      size: (H, W) of the result, pixels, see `reference_size`.

    Returns:
      (H, W, 3) uint8, and the geometry.

    Raises:
      UsageError: the picture is not (h, w, 3) uint8 or is empty.
    """
    _check(image)
    (height, width), short = image.shape[:2], min(image.shape[:2])
    scale = (size[0] if height <= width else size[1]) / short
    dx, dy = size[1] / 2 - scale * int(width / 2 + 0.5), size[0] / 2 - scale * int(height / 2 + 0.5)
    matrix = np.array([[scale, 0, dx], [0, scale, dy]], np.float64)
    warped = cv2.warpAffine(image, matrix, (size[1], size[0]), flags=cv2.INTER_LINEAR)
    return warped, Letterbox(scale, dx, dy, (height, width))


def _check(image: np.ndarray) -> None:
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or 0 in image.shape:
        raise UsageError(f"picture of shape {image.shape}, {image.dtype}: give (height, width, 3) uint8")
