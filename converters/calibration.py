"""Pictures from which integer conversion reads the ranges of activations."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from ehrnet_tf.errors import DataError, UsageError
from ehrnet_tf.images import SUFFIXES, read_image
from ehrnet_tf.runtime.letterbox import letterbox


def calibration_pictures(
    folder: str | os.PathLike, size: tuple[int, int], count: int = 128, seed: int = 0
) -> list[np.ndarray]:
    """Draws pictures from a folder and prepares them as the runtime does.

    Args:
      folder: pictures, also in sub-folders. Of a COCO folder only `train*` is drawn from, so that the pictures which
        measure the result do not calibrate it.
      size: (height, width) of the network input.
      count: how many; fewer if the folder holds fewer.
      seed: of the drawing.

    Returns:
      (H, W, 3) uint8 network inputs. Pictures that cannot be read are passed over.

    Raises:
      UsageError: ``count`` below 1 or ``seed`` below 0.
      DataError: the folder is missing or holds no readable picture.
    """
    if count < 1 or seed < 0:
        raise UsageError(f"{count} calibration pictures by seed {seed}: give at least 1, and a seed of at least 0")
    folder = Path(folder)
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder of calibration pictures")
    roots = sorted(folder.glob("train*")) if (folder / "annotations").is_dir() else [folder]
    paths = sorted(p for root in roots for p in root.rglob("*") if p.suffix.lower() in SUFFIXES)
    pictures: list[np.ndarray] = []
    for index in np.random.default_rng(seed).permutation(len(paths)):
        try:
            pictures.append(letterbox(read_image(paths[index]), size)[0])
        except DataError:
            continue
        if len(pictures) == count:
            break
    if not pictures:
        raise DataError(f"{folder}: no readable calibration picture in it ({', '.join(sorted(SUFFIXES))})")
    return pictures
