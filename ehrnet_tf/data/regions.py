"""Regions in which people are not labelled, so that no loss may be taken there: COCO segmentations to a mask."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np

from ehrnet_tf.errors import MissingExtraError


def region_mask_png(regions: Sequence[tuple[Any, tuple[float, ...]]], height: int, width: int) -> bytes:
    """The mask of a picture.

    Args:
      regions: (segmentation, box) of each: a list of polygons, an RLE mapping (compressed or not) or anything else,
        for which the box (left, top, width, height, pixels) is taken.
      height, width: of the picture, pixels.

    Returns:
      A PNG of (height, width) uint8, 0 inside the regions and 255 elsewhere; empty bytes for no regions.
    """
    if not regions:
        return b""
    mask = np.full((height, width), 255, np.uint8)
    for segmentation, box in regions:
        inside = _decode(segmentation, height, width)
        if inside is None:
            left, top = max(0, math.floor(box[0])), max(0, math.floor(box[1]))
            mask[top : max(0, math.ceil(box[1] + box[3])), left : max(0, math.ceil(box[0] + box[2]))] = 0
        else:
            mask[inside] = 0
    return cv2.imencode(".png", mask, [cv2.IMWRITE_PNG_BILEVEL, 1])[1].tobytes()


def _decode(segmentation: Any, height: int, width: int) -> np.ndarray | None:
    """(height, width) bool, or None where the segmentation is empty or malformed."""
    try:
        if isinstance(segmentation, dict):
            return _decode_rle(segmentation["size"], segmentation["counts"], height, width)
        polygons = [np.array(p, np.float64).tolist() for p in segmentation if len(p) >= 6 and len(p) % 2 == 0]
        if polygons and np.isfinite(np.concatenate(polygons)).all():
            return _draw_polygons(polygons, height, width)
    except (KeyError, TypeError, ValueError):
        pass
    return None


def _draw_polygons(polygons: list[list[float]], height: int, width: int) -> np.ndarray:
    """The union of polygons x0, y0, x1, y1, ..., as COCO draws them."""
    try:
        from pycocotools import mask as coco_mask
    except ImportError:
        raise MissingExtraError("pycocotools", "train") from None
    return coco_mask.decode(coco_mask.frPyObjects(polygons, height, width)).any(axis=-1)


def _decode_rle(size: Sequence[int], counts: str | list[int], height: int, width: int) -> np.ndarray | None:
    """Run lengths, column by column, of 0 and 1 in turn; not pycocotools', which believes any string."""
    counts = _rle_counts(counts) if isinstance(counts, str) else counts
    if list(size) != [height, width] or min(counts) < 0 or sum(counts) != height * width:
        return None
    return np.repeat(np.arange(len(counts)) % 2 == 1, counts).reshape(width, height).T


def _rle_counts(text: str) -> list[int]:
    """The run lengths in a compressed RLE string (cocoapi, common/maskApi.c: rleFrString).

    Each character less 48 carries 5 bits, the lowest first, and whether more follow (32); a number is signed and, from
    the fourth on, counts from the one two before.
    """
    counts: list[int] = []
    value = shift = 0
    for byte in text.encode("ascii"):
        bits = byte - 48
        value |= (bits & 31) << shift
        shift += 5
        if not bits & 32:
            if bits & 16:
                value -= 1 << shift
            counts.append(value + counts[-2] if len(counts) > 2 else value)
            value = shift = 0
    return counts
