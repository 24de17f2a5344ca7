"""The exact decoder: heat-maps and associative-embedding tags to people.

Steps as in the reference implementation (HigherHRNet's `lib/core/group.py`, MIT; method: Newell et al., "Associative
Embedding", 2017): candidates, grouping by tag, sub-pixel adjustment, refinement. Inside this module maps are planes,
channel first: heat-maps (K, H, W) and tags (K, T, H, W), both float32 and contiguous.
"""

from __future__ import annotations

import dataclasses
import heapq
from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np

from ehrnet_tf import keypoints
from ehrnet_tf.errors import UsageError

_NEVER = 1e10  # cost of a column that stands for "no person"
_WORTH_SORTING = 3  # people for whom finding a map's hottest cells first is quicker than looking everywhere at once


@dataclasses.dataclass(frozen=True)
class DecoderSettings:
    """What the decoder can be told.

    Attributes:
      nms_kernel: side of the non-maximum-suppression window, in cells, odd.
      threshold: a candidate's heat must be greater than this; at least 0.
      tag_threshold: a candidate joins a person if the distance of their tags is less than this.
      max_people: the most candidates per keypoint, and the number of people that later candidates may join.
      adjust: whether grouped joints are moved a quarter of a cell towards the higher neighbours.
      refine: whether joints that a person lacks are looked for in the whole map.

    Raises:
      UsageError: a value is out of its range.
    """

    nms_kernel: int = 5
    threshold: float = 0.1
    tag_threshold: float = 1.0
    max_people: int = 30
    adjust: bool = True
    refine: bool = True

    def __post_init__(self) -> None:
        if self.nms_kernel < 1 or self.nms_kernel % 2 != 1:
            raise UsageError(f"nms_kernel {self.nms_kernel}: must be a positive odd number of cells")
        if not self.threshold >= 0:
            raise UsageError(f"threshold {self.threshold}: must be at least 0")
        if not self.tag_threshold > 0:
            raise UsageError(f"tag_threshold {self.tag_threshold}: must be greater than 0")
        if self.max_people < 1:
            raise UsageError(f"max_people {self.max_people}: must be at least 1")


def decode(
    heatmaps: np.ndarray,
    tags: np.ndarray,
    settings: DecoderSettings | None = None,
    grouping: Sequence[int] | None = None,
    **changes: float,
) -> tuple[np.ndarray, np.ndarray]:
    """Finds the people in one picture's maps.

    Args:
      heatmaps: (H, W, K) float.
      tags: (H, W, K, T) float, or (H, W, K) meaning T = 1.
      settings: the decoder's settings, default ``DecoderSettings()``.
      grouping: the K keypoint indices in the order in which candidates are grouped; default: COCO's order if K is 17,
        otherwise 0 to K - 1.
      **changes: single settings by name, e.g. ``threshold=0.2``.

    Returns:
      people: (N, K, 3 + T) float32: x, y, score, tags, in the order in which the people were opened. x (right) and y
        (down) are in cells of the maps given, in the continuous frame: cell j covers [j, j + 1), its centre is j + 0.5.
        An absent joint is all 0; one that refinement found has tags 0.

      scores: (N,) float32: the mean of a person's K joint scores before refinement, absent joints counting 0.

    Raises:
      UsageError: shapes that do not belong together, maps with NaN or infinity, an impossible setting or grouping.
    """
    settings = dataclasses.replace(settings or DecoderSettings(), **changes)
    heat, tag_planes = to_planes(heatmaps, tags)
    grouping = grouping_order(grouping, len(heat))
    people = group(find_candidates(heat, tag_planes, settings), settings, grouping)
    scores = people[:, :, 2].mean(axis=1)
    people = adjust(people, heat, 0.25 if settings.adjust else 0.0)
    if settings.refine:
        people = refine(people, heat, tag_planes)
    return people, scores


def grouping_order(grouping: Sequence[int] | None, count: int) -> Sequence[int]:
    """The order of K = ``count`` keypoints in grouping: the one given, else COCO's if K is 17, else 0 to K - 1.

    Raises:
      UsageError: not each of 0 to K - 1 once.
    """
    if grouping is None:
        return keypoints.load("coco").grouping if count == 17 else range(count)
    if sorted(grouping) != list(range(count)):
        raise UsageError(f"grouping {tuple(grouping)}: must hold each of 0 to {count - 1} once")
    return grouping


def to_planes(heatmaps: np.ndarray, tags: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Checks channel-last maps and makes planes of them.

    Args:
      heatmaps: (H, W, K) float.
      tags: (H, W, K, T) or (H, W, K) float.

    Returns:
      heat-maps (K, H, W) float32 and tags (K, T, H, W) float32.

    Raises:
      UsageError: shapes that do not belong together or hold nothing, NaN or infinity.
    """
    heatmaps, tags = np.asarray(heatmaps), np.asarray(tags)
    if heatmaps.ndim != 3 or tags.ndim not in (3, 4) or tags.shape[:3] != heatmaps.shape:
        raise UsageError(
            f"heatmaps {heatmaps.shape}, tags {tags.shape}: give (H, W, K) and (H, W, K, T) or (H, W, K) of one picture"
        )
    if 0 in heatmaps.shape or 0 in tags.shape:
        raise UsageError(f"heatmaps {heatmaps.shape}, tags {tags.shape}: every dimension must be at least 1")
    height, width, count = heatmaps.shape
    planes = []
    for name, maps in (("heatmaps", heatmaps), ("tags", tags)):
        with np.errstate(over="ignore"):
            rows = np.ascontiguousarray(maps, np.float32).reshape(height * width, -1)
        if not np.isfinite(rows).all():
            raise UsageError(f"{name}: hold NaN or infinity (does the model overflow in float16, or has it diverged?)")
        planes.append(cv2.transpose(rows))
    return planes[0].reshape(count, height, width), planes[1].reshape(count, -1, height, width)


def find_candidates(heat: np.ndarray, tags: np.ndarray, settings: DecoderSettings) -> list[np.ndarray]:
    """The highest local maxima of every keypoint.

    A cell is a candidate if it equals the maximum of the ``nms_kernel``-sided window around it and exceeds
    ``threshold``; cells outside the map count as minus infinity.

    Args:
      heat: (K, H, W) float32.
      tags: (K, T, H, W) float32.
      settings: ``nms_kernel``, ``threshold`` and ``max_people`` count.

    Returns:
      K arrays (n, 3 + T) float32 with n <= max_people: x and y (the cell's indices), heat, tags; in descending order of
      heat. Equal ones come in the reference's order (see ``_heap_order``); row by row if H·W < 64·max_people.
    """
    count, _, width = heat.shape
    window = np.ones((settings.nms_kernel, settings.nms_kernel), np.uint8)
    found = []
    for plane, plane_tags in zip(heat, tags.reshape(count, tags.shape[1], -1)):
        values, highest = plane.ravel(), cv2.dilate(plane, window).ravel()
        cells = np.flatnonzero(values > settings.threshold)
        cells = cells[values[cells] == highest[cells]]
        cells = cells[np.argsort(-values[cells], kind="stable")[: settings.max_people + 1]]
        peaks = values[cells]
        if (peaks[1:] == peaks[:-1]).any() and len(values) >= 64 * settings.max_people:
            cells = _heap_order(np.where(values == highest, values, 0), settings.max_people)
            cells = cells[values[cells] > settings.threshold]
        cells = cells[: settings.max_people]
        candidates = np.empty((len(cells), 3 + len(plane_tags)), np.float32)
        candidates[:, 0], candidates[:, 1], candidates[:, 2] = cells % width, cells // width, values[cells]
        candidates[:, 3:] = plane_tags[:, cells].T
        found.append(candidates)
    return found


class _Cell(NamedTuple):
    heat: float
    index: int

    def __lt__(self, other: _Cell) -> bool:
        return self.heat < other.heat


_CHUNK = 1024  # values that are compared with the heap's lowest at once


def _heap_order(values: np.ndarray, count: int) -> np.ndarray:
    """Indices of the ``count`` highest values, equal ones in the order in which the reference happens to take them.

    The order of equal candidates decides which of them opens a person. The reference's is that of `torch.topk` on a
    CPU, `std::partial_sort`: a heap of the first values in which every higher value replaces the lowest. Python's heapq
    moves equal elements alike.
    """
    heap = [_Cell(*pair) for pair in zip(values[:count].tolist(), range(count))]
    heapq.heapify(heap)
    for first in range(count, len(values), _CHUNK):
        chunk = values[first : first + _CHUNK]
        higher = np.flatnonzero(chunk > heap[0].heat)
        for cell in map(_Cell, chunk[higher].tolist(), (first + higher).tolist()):
            if heap[0] < cell:
                heapq.heapreplace(heap, cell)
    return np.array([heapq.heappop(heap).index for _ in range(count)][::-1])


def group(candidates: Sequence[np.ndarray], settings: DecoderSettings, grouping: Sequence[int]) -> np.ndarray:
    """Assigns candidates to people by their tags, keypoint by keypoint.

    Args:
      candidates: K arrays (n, 3 + T) as ``find_candidates`` returns them.
      settings: ``tag_threshold`` and ``max_people`` count.
      grouping: the K keypoint indices in the order of the visit.

    Returns:
      (N, K, 3 + T) float32: x and y (cell indices), heat, tags; absent joints are 0; people in the order of opening.
    """
    from scipy.optimize import linear_sum_assignment  # here, since it takes longer to import than all the rest

    visited = np.concatenate([candidates[keypoint] for keypoint in grouping])
    counts = [len(candidates[keypoint]) for keypoint in grouping]
    heat = visited[:, 2:3].astype(float)
    tags = np.ones((len(visited), visited.shape[1] - 2))  # and a 1, that sums of rows count them
    tags[:, :-1] = visited[:, 3:]
    owners = np.full(len(visited), -1)
    sums = np.zeros_like(tags)  # a row a person
    opened = end = 0
    for count in counts:
        new = slice(end, end := end + count)
        known = min(opened, settings.max_people)
        if known and count:
            distance = tag_distance(tags[new, :-1], sums[:known, :-1] / sums[:known, -1:])
            cost = np.rint(distance) * 100 - heat[new]
            if count > known:
                cost = np.pad(cost, ((0, 0), (0, count - known)), constant_values=_NEVER)
            rows, columns = linear_sum_assignment(cost)
            if count > known:
                rows, columns = rows[columns < known], columns[columns < known]
            near = distance[rows, columns] < settings.tag_threshold
            owners[new][rows[near]] = columns[near]
        strangers = np.flatnonzero(owners[new] < 0)
        if len(strangers):
            owners[new][strangers] = np.arange(opened, opened + len(strangers))
            opened += len(strangers)
        sums[owners[new]] += tags[new]
    people = np.zeros((opened, len(counts), visited.shape[1]), np.float32)
    people[owners, np.repeat(grouping, counts)] = visited
    return people


def tag_distance(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """(n, m): the L2 distances of n tags (n, T) to m tags (m, T)."""
    if first.shape[1] == 1:
        return np.abs(first - second[:, 0])
    return np.sqrt(np.square(first[:, None] - second).sum(axis=2))


def adjust(people: np.ndarray, heat: np.ndarray, step: float = 0.25) -> np.ndarray:
    """Moves detected joints from cell indices to the continuous frame, ``step`` cells towards the higher neighbours.

    Args:
      people: (N, K, 3 + T) float32 as ``group`` returns them.
      heat: (K, H, W) float32.
      step: how far from the cell's centre, in cells.

    Returns:
      a new array: detected joints (score > 0) lie at the cell's centre, index + 0.5, plus or minus ``step`` in x and y.
    """
    moved = people.copy()
    person, joint = np.nonzero(people[:, :, 2] > 0)
    x, y = people[person, joint, :2].astype(np.intp).T
    moved[person, joint, :2] = _positions(heat, joint, x, y, step)
    return moved


def refine(people: np.ndarray, heat: np.ndarray, tags: np.ndarray) -> np.ndarray:
    """Looks in the whole map for the joints that a person lacks.

    A lacking joint takes the cell with the highest heat - round(distance of its tag to the person's mean tag), if the
    heat there is positive.

    Args:
      people: (N, K, 3 + T) float32 as ``adjust`` returns them: every person has a joint with a score above 0.
      heat: (K, H, W) float32.
      tags: (K, T, H, W) float32.

    Returns:
      a new array; the joints found have x, y a quarter of a cell from the cell's centre, the cell's heat, and tags 0.
    """
    refined = people.copy()
    detected = people[:, :, 2:3] > 0
    means = (people[:, :, 3:] * detected).sum(axis=1) / detected.sum(axis=1, dtype=np.float32)
    person, joint = np.nonzero(~detected[:, :, 0])
    cells = np.empty(len(person), np.intp)
    for k in np.unique(joint):
        lacking = np.flatnonzero(joint == k)
        cells[lacking] = _best_cells(heat[k].ravel(), tags[k].reshape(tags.shape[1], -1), means[person[lacking]])
    y, x = np.unravel_index(cells, heat.shape[1:])
    score = heat[joint, y, x]
    values = np.column_stack((_positions(heat, joint, x, y, 0.25), score))
    positive = score > 0
    refined[person[positive], joint[positive], :3] = values[positive]
    return refined


def _best_cells(heat: np.ndarray, tags: np.ndarray, means: np.ndarray) -> np.ndarray:
    """The cells of one keypoint's maps that maximise heat - round(tag distance), for P people at once.

    First only the hottest sixteenth of the cells is looked at. Whoever finds a value there that is not below the heat
    of all other cells is served, since no distance is negative; the others look everywhere.

    Args:
      heat: (H·W,) float32.
      tags: (T, H·W) float32.
      means: (P, T) float32.

    Returns:
      (P,) flat indices, the first of equals.
    """
    best = np.empty(len(means), np.intp)
    waiting = range(len(means))
    if len(means) >= _WORTH_SORTING:
        sample = heat[:: max(1, len(heat) // 1024)]
        level = np.partition(sample, -1 - len(sample) // 16)[-1 - len(sample) // 16]
        cells = np.flatnonzero(heat >= level)
        value = heat[cells] - np.rint(tag_distance(means, tags[:, cells].T))
        hottest = value.argmax(axis=1)
        best[:] = cells[hottest]
        waiting = np.flatnonzero(value[np.arange(len(means)), hottest] < level)
    for person in waiting:
        value = tags - means[person][:, None]
        value *= value
        value = np.add.reduce(value, axis=0)
        np.sqrt(value, out=value)
        np.rint(value, out=value)
        np.subtract(heat, value, out=value)
        best[person] = value.argmax()
    return best


def _positions(heat: np.ndarray, joint: np.ndarray, x: np.ndarray, y: np.ndarray, step: float) -> np.ndarray:
    """(n, 2) float32 x, y in the continuous frame of n cells of the given keypoints' planes; neighbours are clamped."""
    height, width = heat.shape[1:]
    right = heat[joint, y, np.minimum(x + 1, width - 1)] > heat[joint, y, np.maximum(x - 1, 0)]
    below = heat[joint, np.minimum(y + 1, height - 1), x] > heat[joint, np.maximum(y - 1, 0), x]
    return np.column_stack((x, y)).astype(np.float32) + 0.5 + np.where(np.column_stack((right, below)), step, -step)
