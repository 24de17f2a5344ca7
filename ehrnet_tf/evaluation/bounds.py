"""What holds the AP back, heat-maps or tags: decoding with one of the two replaced by the truth.

Frame of the maps: continuous cells, x right, y down, cell (row i, column j) covers [j, j+1) x [i, i+1).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ehrnet_tf.decoding.maps import View

if TYPE_CHECKING:
    from ehrnet_tf.data.coco import Record
    from ehrnet_tf.runtime.estimator import Prepared

TAG_DISTANCE = 2.0  # of successive people; the decoder joins tags closer than 1
SIGMA = 2.0  # cells
_REACH = 7  # cells


def with_true_groups(record: Record, prepared: Prepared, views: list[View]) -> list[View]:
    """The network's heat-maps, and tags that tell the people apart without fault.

    Args:
      record: the picture's people.
      prepared: the picture as the network took it.
      views: what `PoseEstimator.run` returned for it, at one scale without flip.
    """
    maps = views[0].maps
    return [View({**maps, "tags": true_tags(_in_cells(record, prepared, maps["tags"]), *maps["tags"].shape[:2])}, None)]


def with_true_heatmaps(record: Record, prepared: Prepared, views: list[View]) -> list[View]:
    """The network's tags, and Gaussians at the keypoints for heat-maps; arguments as `with_true_groups`."""
    maps = dict(views[0].maps)
    for name in maps.keys() - {"tags"}:
        maps[name] = true_heatmaps(_in_cells(record, prepared, maps[name]), *maps[name].shape[:2])
    return [View(maps, None)]


def true_tags(people: np.ndarray, height: int, width: int) -> np.ndarray:
    """Tag maps in which every cell has the tag of the person whose keypoint is nearest.

    Args:
      people: (P, K, 3): x, y in cells, v; in a channel that no person has, the nearest person's middle decides.
      height, width: of the maps.

    Returns:
      (height, width, K) float32: multiples of `TAG_DISTANCE`.
    """
    k = people.shape[1]
    tags = np.zeros((height, width, k), np.float32)
    people = people[(people[..., 2] > 0).any(axis=1)]
    if not len(people):
        return tags
    rows, columns = np.mgrid[:height, :width] + 0.5
    seen = people[..., 2] > 0
    middles = (people[..., :2] * seen[..., None]).sum(1) / seen.sum(1)[:, None]
    for joint in range(k):
        points, owners = people[seen[:, joint], joint, :2], np.flatnonzero(seen[:, joint])
        if not len(points):
            points, owners = middles, np.arange(len(people))
        distance = (columns[..., None] - points[:, 0]) ** 2 + (rows[..., None] - points[:, 1]) ** 2
        tags[..., joint] = TAG_DISTANCE * owners[distance.argmin(axis=-1)]
    return tags


def true_heatmaps(people: np.ndarray, height: int, width: int) -> np.ndarray:
    """Heat-maps with a Gaussian of height 1 at every keypoint, the maximum where people overlap.

    Args:
      people: (P, K, 3): x, y in cells, v; what is unlabelled or off the map draws nothing.
      height, width: of the maps.

    Returns:
      (height, width, K) float32.
    """
    maps = np.zeros((height, width, people.shape[1]), np.float32)
    for person in people:
        for joint, (x, y, v) in enumerate(person):
            if v <= 0 or not (0 <= x < width and 0 <= y < height):
                continue
            left, right = max(0, int(x) - _REACH), min(width, int(x) + _REACH + 1)
            top, bottom = max(0, int(y) - _REACH), min(height, int(y) + _REACH + 1)
            across = np.exp(-((np.arange(left, right) + 0.5 - x) ** 2) / (2 * SIGMA**2))
            down = np.exp(-((np.arange(top, bottom) + 0.5 - y) ** 2) / (2 * SIGMA**2))
            patch = maps[top:bottom, left:right, joint]
            np.maximum(patch, down[:, None] * across, out=patch, casting="same_kind")
    return maps


def _in_cells(record: Record, prepared: Prepared, maps: np.ndarray) -> np.ndarray:
    """(P, K, 3): the record's people in the cells of ``maps`` (H, W, K)."""
    height, width = prepared.size
    people = np.array(record.keypoints, np.float64)
    cells = np.array([maps.shape[1] / width, maps.shape[0] / height])
    people[..., :2] = prepared.box.to_input(people[..., :2]) * cells
    return people


BOUNDS = {"AP_true_groups": with_true_groups, "AP_true_heatmaps": with_true_heatmaps}
