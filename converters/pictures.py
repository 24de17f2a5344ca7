"""Pictures for conversion: those that tell the ranges of activations, and those that a file is compared on."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from ehrnet_tf.errors import DataError, UsageError
from ehrnet_tf.images import SUFFIXES, read_image
from ehrnet_tf.runtime.letterbox import letterbox

COMPARED = 8  # pictures that a file is compared on, where a folder has more


def calibration_pictures(
    folder: str | os.PathLike, size: tuple[int, int], count: int = 128, seed: int = 0, split: str = "train"
) -> list[np.ndarray]:
    """Draws pictures from a folder and prepares them as the runtime does.

    Args:
      folder: pictures, also in sub-folders. Of a COCO folder only `train*` is drawn from, so that the pictures which
        measure the result do not calibrate it.
      size: (height, width) of the network input.
      count: how many; fewer if the folder holds fewer.
      seed: of the drawing.
      split: "train" or "val", of a COCO folder.

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
        raise DataError(f"{folder}: no such folder of pictures")
    roots = sorted(folder.glob(f"{split}*")) if (folder / "annotations").is_dir() else [folder]
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
        raise DataError(f"{folder}: no readable picture in it ({', '.join(sorted(SUFFIXES))})")
    return pictures


def comparison_pictures(
    folder: str | os.PathLike | None, size: tuple[int, int], calibration: Sequence[np.ndarray] = ()
) -> list[np.ndarray]:
    """What a file is compared on: pictures of a folder (of a COCO folder: `val*`), else those of the calibration, else
    made-up people.

    Args:
      folder: of pictures, or None.
      size: (height, width) of the network input.
      calibration: (H, W, 3) uint8 network inputs.

    Raises:
      DataError: the folder is missing or holds no readable picture.
    """
    if folder is not None:
        return calibration_pictures(folder, size, COMPARED, split="val")
    return list(calibration) or made_up_pictures(size)


def check_inputs(pictures: Iterable[np.ndarray] | None, size: tuple[int, int]) -> list[np.ndarray]:
    """The pictures as a list, empty for None.

    Raises:
      UsageError: one is not (height, width, 3) uint8, ``size`` being (height, width).
    """
    checked = [np.asarray(picture) for picture in (() if pictures is None else pictures)]
    for picture in checked:
        if picture.shape != (*size, 3) or picture.dtype != np.uint8:
            raise UsageError(f"picture of shape {picture.shape}, {picture.dtype}: give ({size[0]}, {size[1]}, 3) uint8")
    return checked


def made_up_pictures(size: tuple[int, int], count: int = 4) -> list[np.ndarray]:
    """Network inputs (height, width, 3) uint8 with synthetic people."""
    from ehrnet_tf.data.synthetic.scene import make_picture

    return [letterbox(make_picture(0, 1, index, max(size), 3)[0], size)[0] for index in range(count)]
