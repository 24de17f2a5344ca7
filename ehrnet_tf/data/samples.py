"""Training samples by number: which picture comes when, and what becomes of it. No tensorflow here.

Everything follows from the seed and the sample's number, so that a run can go on anywhere and processes can share the
work. Frame: as in `transforms`.
"""

from __future__ import annotations

import functools
import logging
import threading
from collections.abc import Sequence

import cv2
import numpy as np

from ehrnet_tf.config import AugmentConfig
from ehrnet_tf.data import transforms
from ehrnet_tf.data.coco import Record, Records
from ehrnet_tf.errors import DataError
from ehrnet_tf.runtime.letterbox import scale_of

_LOG = logging.getLogger("ehrnet_tf.data")
_FAILURES = 100  # pictures that fail one after the other before a run ends; twice the pictures of a small data set
_JPEG = b"\xff\xd8"
_REDUCED = {2: cv2.IMREAD_REDUCED_COLOR_2, 4: cv2.IMREAD_REDUCED_COLOR_4, 8: cv2.IMREAD_REDUCED_COLOR_8}

Sample = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


class Samples:
    """Samples (picture, keypoints, mask at 1/4, mask at 1/2) of a split, for any number of threads.

    In training, every pass over the data has an order of its own, and every picture other augmentation in each;
    otherwise pictures come in the records' order, letterboxed.

    A picture that has vanished or fails to decode is logged once; its sample is black and its masks are 0, so that it
    counts nothing in the loss and no later sample moves up.

    Args:
      records: the pictures.
      size: side of the square output, pixels; a multiple of 4.
      augment: the ranges; None: pictures are letterboxed.
      seed: of order and augmentation; None: the records' order.
      length: samples a pass.
    """

    def __init__(self, records: Records, size: int, augment: AugmentConfig | None, seed: int | None, length: int):
        self._records, self._size, self._augment = records, size, augment
        self._seed, self._length = seed, length
        self._flip_order = records.keypoints.flip_order
        self._order = functools.lru_cache(maxsize=4)(self._draw_order)
        self._lock = threading.Lock()
        self._failed: set[str] = set()
        self._in_a_row = 0
        self.error: DataError | None = None  # why reading ended

    def __call__(self, number: int) -> Sample:
        """The sample of that number.

        Returns:
          (size, size, 3) uint8 RGB; (P, K, 3) float32: x, y in output pixels and v of the people still in sight;
          (size / 4, size / 4) and (size / 2, size / 2) uint8, 0 where the loss does not count.

        Raises:
          DataError: no picture can be read any more.
        """
        turn, place = divmod(int(number), self._length)
        index = int(self._order(turn)[place]) if self._seed is not None else place
        record = self._records[index]
        try:
            sample = self._sample(record, turn, index)
        except DataError as error:
            self._note(record, error)
            return self._blank()
        self._in_a_row = 0
        return sample

    def batch(self, numbers: Sequence[int]) -> Sample:
        """The samples of these numbers as arrays of one more axis; keypoints (B, P, K, 3) filled up with zeros."""
        samples = [self(number) for number in numbers]
        pictures, masks_4, masks_2 = (np.stack([sample[i] for sample in samples]) for i in (0, 2, 3))
        most = max(len(sample[1]) for sample in samples)
        keypoints = np.zeros((len(samples), most, len(self._records.keypoints), 3), np.float32)
        for row, sample in zip(keypoints, samples, strict=True):
            row[: len(sample[1])] = sample[1]
        return pictures, keypoints, masks_4, masks_2

    def _draw_order(self, turn: int) -> np.ndarray:
        return np.random.default_rng([self._seed, turn]).permutation(len(self._records))

    def _sample(self, record: Record, turn: int, index: int) -> Sample:
        size, keypoints = self._size, record.keypoints
        if self._augment is not None:
            rng = np.random.default_rng([self._seed or 0, turn, index])
            matrix, mirrored = transforms.random_matrix(record.height, record.width, size, self._augment, rng)
            if mirrored:
                keypoints = transforms.mirror_keypoints(keypoints, self._flip_order)
        else:
            matrix = transforms.letterbox_matrix(record.height, record.width, size)
        keypoints = transforms.warp_keypoints(keypoints, matrix, size)
        picture, factor = decode(record, scale_of(matrix))
        mask = _mask(record)
        return (
            transforms.warp_picture(picture, matrix * [factor, factor, 1], size),
            keypoints[(keypoints[..., 2] > 0).any(axis=1)],
            transforms.warp_mask(mask, matrix / 4, size // 4),
            transforms.warp_mask(mask, matrix / 2, size // 2),
        )

    def _blank(self) -> Sample:
        size, k = self._size, len(self._records.keypoints)
        shapes = ((size, size, 3), (size // 4, size // 4), (size // 2, size // 2))
        picture, mask_4, mask_2 = (np.zeros(shape, np.uint8) for shape in shapes)
        return picture, np.zeros((0, k, 3), np.float32), mask_4, mask_2

    def _note(self, record: Record, error: DataError) -> None:
        with self._lock:
            if record.path not in self._failed:
                self._failed.add(record.path)
                _LOG.warning("%s; it counts nothing in training (%d such pictures)", error, len(self._failed))
            self._in_a_row += 1
            if self._in_a_row >= min(_FAILURES, 2 * len(self._records)):
                self.error = self.error or DataError(
                    f"{error}; {self._in_a_row} pictures in a row could not be read: see that the data are still there"
                )
                raise self.error from None


def decode(record: Record, scale: float) -> tuple[np.ndarray, int]:
    """A record's picture, as it is stored (EXIF orientation is not applied: the annotations' size is the file's).

    Args:
      record: of the picture.
      scale: what the picture will be scaled by; a JPEG that shrinks to a quarter or less is decoded at 1/2, 1/4 or 1/8
        of its size, at least twice as large as needed.

    Returns:
      (H, W, 3) uint8 RGB, and how many stored pixels one of its pixels is wide: 1, 2, 4 or 8.

    Raises:
      DataError: the file is missing, cannot be decoded, or is not of the size that the record says.
    """
    data = record.read()
    factor = next((f for f in (8, 4, 2) if 2 * scale * f <= 1), 1) if data.startswith(_JPEG) else 1
    flags = _REDUCED.get(factor, cv2.IMREAD_COLOR) | cv2.IMREAD_IGNORE_ORIENTATION
    try:
        picture = cv2.imdecode(np.frombuffer(data, np.uint8), flags) if data else None
    except cv2.error:
        picture = None
    if picture is None:
        raise DataError(f"{record.path}: cannot be decoded; replace or remove the file")
    wanted = (-(-record.height // factor), -(-record.width // factor))
    if picture.shape[:2] != wanted:
        raise DataError(
            f"{record.path}: is no longer {record.width}x{record.height} pixels; the file was replaced: start again"
        )
    return cv2.cvtColor(picture, cv2.COLOR_BGR2RGB), factor


def _mask(record: Record) -> np.ndarray:
    """(H, W) uint8 of a record's mask; all 255 where it has none."""
    if not record.mask:
        return np.full((record.height, record.width), 255, np.uint8)
    return cv2.imdecode(np.frombuffer(record.mask, np.uint8), cv2.IMREAD_GRAYSCALE)
