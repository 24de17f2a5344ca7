"""Contact sheets: captioned tiles in a grid, written as one picture."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from ehrnet_tf.files import atomic_path

CAPTION = 26  # pixels of height
_PAPER, _INK = 255, (0, 0, 0)


def captioned(image: np.ndarray, text: str) -> np.ndarray:
    """A picture (H, W, 3) uint8 below a line of black text on white: (H + CAPTION, W, 3)."""
    tile = np.full((image.shape[0] + CAPTION, *image.shape[1:]), _PAPER, np.uint8)
    tile[CAPTION:] = image
    cv2.putText(tile, text, (6, 18), cv2.FONT_HERSHEY_SIMPLEX, 0.5, _INK, 1, cv2.LINE_AA)
    return tile


def grid(tiles: Sequence[np.ndarray], columns: int, gap: int = 0) -> np.ndarray:
    """Tiles of one shape (h, w, 3) uint8 in rows of so many, ``gap`` white pixels between; at least one tile."""
    padded = [np.pad(t, ((0, gap), (0, gap), (0, 0)), constant_values=_PAPER) for t in tiles]
    padded += [np.full_like(padded[0], _PAPER)] * (-len(padded) % columns)
    rows = [np.concatenate(padded[i : i + columns], axis=1) for i in range(0, len(padded), columns)]
    sheet = np.concatenate(rows)
    return sheet[: sheet.shape[0] - gap, : sheet.shape[1] - gap]


def write_picture(path: str | os.PathLike, image: np.ndarray) -> Path:
    """Writes RGB (H, W, 3) uint8 as JPEG or PNG, by the suffix, all of it or nothing.

    Raises:
      OSError: the file cannot be written; its ``filename`` is ``path``.
    """
    path = Path(path)
    with atomic_path(path) as temporary:
        if not cv2.imwrite(str(temporary), cv2.cvtColor(image, cv2.COLOR_RGB2BGR)):
            raise OSError(0, "cannot be written", str(path))
    return path
