"""The maps of a network's two stages, brought to one resolution."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import cv2
import numpy as np

from ehrnet_tf.errors import UsageError

_MOST_CHANNELS = 128  # what one OpenCV matrix holds (CV_CN_MAX before OpenCV 5)


def resize(maps: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resizes maps bilinearly, with half-pixel centres and no smoothing before a reduction.

    Args:
      maps: (H, W, C) float.
      size: (height, width) of the result, in cells.

    Returns:
      (height, width, C) float32.
    """
    maps = np.asarray(maps, np.float32)
    height, width = size
    if maps.shape[:2] == (height, width):
        return maps
    result = np.empty((height, width, maps.shape[2]), np.float32)
    for first in range(0, maps.shape[2], _MOST_CHANNELS):
        part = np.ascontiguousarray(maps[:, :, first : first + _MOST_CHANNELS])
        resized = cv2.resize(part, (width, height), interpolation=cv2.INTER_LINEAR)
        result[:, :, first : first + _MOST_CHANNELS] = resized.reshape(height, width, -1)
    return result


def project(
    heatmaps_4: np.ndarray, heatmaps_2: np.ndarray, tags: np.ndarray, size: tuple[int, int] | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Joins the two stages of one picture and projects them to the network input's resolution, without flip.

    Heat-maps are the mean of both stages, tags come from stage 1; whatever is of stage 1 is first resized to stage 2's
    size, then everything to ``size``. Source: the test procedure of HigherHRNet (MIT), `get_multi_stage_outputs` and
    `aggregate_results`.

    Args:
      heatmaps_4: (h4, w4, K) float, stage 1.
      heatmaps_2: (h2, w2, K) float, stage 2.
      tags: (h4, w4, K) or (h4, w4, K, T) float, stage 1.
      size: (H, W) of the result in cells, normally the network input's; None: stays at stage 2's size.

    Returns:
      heat-maps (H, W, K) float32 and tags (H, W, K) or (H, W, K, T) float32.

    Raises:
      UsageError: the shapes do not belong together, or a size is not positive.
    """
    heatmaps_4, heatmaps_2, tags = (np.asarray(a) for a in (heatmaps_4, heatmaps_2, tags))
    shapes = f"heatmaps_4 {heatmaps_4.shape}, heatmaps_2 {heatmaps_2.shape}, tags {tags.shape}"
    if (
        heatmaps_4.ndim != 3
        or heatmaps_2.ndim != 3
        or tags.ndim not in (3, 4)
        or heatmaps_4.shape[2] != heatmaps_2.shape[2]
        or heatmaps_4.shape != tags.shape[:3]
    ):
        raise UsageError(f"{shapes}: give (h4, w4, K), (h2, w2, K) and (h4, w4, K) or (h4, w4, K, T)")
    if 0 in heatmaps_4.shape + heatmaps_2.shape + tags.shape:
        raise UsageError(f"{shapes}: a map is empty")
    middle = heatmaps_2.shape[:2]
    height, width = middle if size is None else (int(n) for n in size)
    if min(height, width) < 1:
        raise UsageError(f"size {size}: height and width must be at least 1 cell")
    heatmaps = (resize(heatmaps_4, middle) + heatmaps_2.astype(np.float32, copy=False)) / np.float32(2)
    channels = tags.reshape(*tags.shape[:2], -1)
    return (
        resize(heatmaps, (height, width)),
        resize(resize(channels, middle), (height, width)).reshape(height, width, *tags.shape[2:]),
    )


class View(NamedTuple):
    """The maps of one picture at one scale.

    Attributes:
      maps: "heatmaps_4" and "tags" (h4, w4, K), "heatmaps_2" (h2, w2, K), float32.
      mirrored: the same of the mirrored picture, as the network gave them; None: no flip test.
    """

    maps: Mapping[str, np.ndarray]
    mirrored: Mapping[str, np.ndarray] | None = None


def merge(
    views: Sequence[View], one: int, size: tuple[int, int], flip_order: Sequence[int]
) -> tuple[np.ndarray, np.ndarray]:
    """Joins what the network saw of one picture: stages, mirrored maps and scales.

    Source: the test procedure of HigherHRNet (MIT), `get_multi_stage_outputs` and `aggregate_results`.

    Args:
      views: one a scale.
      one: the index of scale 1, whose tags are taken.
      size: (H, W) of the result in cells: the network input's at scale 1.
      flip_order: K indices: channel k of a mirrored picture is channel ``flip_order[k]`` of the original.

    Returns:
      heat-maps (H, W, K) float32, averaged over mirroring and scales, and tags (H, W, K, T) float32, with T = 2 where
      there is a mirrored picture.
    """
    total, tags = None, []
    for index, view in enumerate(views):
        joined = [project(**view.maps, size=size)]
        if view.mirrored is not None:
            back = {name: np.asarray(maps)[:, ::-1][:, :, list(flip_order)] for name, maps in view.mirrored.items()}
            joined.append(project(**back, size=size))
        heat = joined[0][0] if len(joined) == 1 else (joined[0][0] + joined[1][0]) / np.float32(2)
        total = heat if total is None else total + heat
        if index == one:
            tags = [tag for _, tag in joined]
    return total / np.float32(len(views)), np.stack(tags, axis=-1)
