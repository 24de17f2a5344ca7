"""The live decoder: people from stage 2's heat-maps at their own resolution, in about a millisecond.

What differs from the exact procedure (`decoder.decode`), all of it measured in docs/decoding.md: only stage 2's
heat-maps are read, nothing is resized, candidates are grouped greedily, joints are placed by a sub-pixel fit of the
peak, and a joint that a person lacks is looked for only in cells of the person's own tag whose heat exceeds the
threshold.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Tuple

import numpy as np

from ehrnet_tf.decoding.decoder import DecoderSettings, grouping_order, tag_distance
from ehrnet_tf.errors import UsageError

Region = Tuple[int, int, int, int]  # top, left, bottom, right, in cells; the last two exclusive

PEOPLE = 30  # the most that a file with the decoder inside finds, if nothing else is said
ROUND = 4.0  # cost of one step of the rounded tag distance: more than any heat
EARLIER = 1e-3  # cost of a person for each one opened before: of people with equal tags, the first gets the joint
FITTED = 3  # side of the window that a peak's place is fitted to, cells
FLATTEST = 1e-4  # determinant of the curvatures of a peak that has a place: a Gaussian of 10 cells, or a ridge
LOWEST = 1e-3  # of the peak's heat: what a neighbour counts at least, lest its logarithm runs away

_Y, _X = np.repeat([-1.0, 0, 1], 3), np.tile([-1.0, 0, 1], 3)
# (9, 5): 3x3 values, row by row, to slopes and curvatures in x and y, and twist, of the quadratic
# a + b x + c y + d x²/2 + e y²/2 + f x y that fits them best by least squares.
FIT = np.column_stack((_X / 6, _Y / 6, _X * _X - 2 / 3, _Y * _Y - 2 / 3, _X * _Y / 4)).astype(np.float32)


def decode_live(
    heatmaps: np.ndarray,
    tags: np.ndarray,
    settings: DecoderSettings | None = None,
    grouping: Sequence[int] | None = None,
    region: Region | None = None,
    **changes: float,
) -> tuple[np.ndarray, np.ndarray]:
    """Finds the people in one picture's maps, fast.

    Candidates are the cells that exceed ``threshold`` and equal the maximum of the window around them; they are grouped
    by `group_greedily`; a grouped joint lies where a quadratic, fitted by least squares to the logarithms of the 3x3
    cells round the peak, has its maximum (within one cell). The first ``max_people`` people are refined.

    Args:
      heatmaps: (H, W, K) float, stage 2's.
      tags: (h, w, K) or (h, w, K, T) float, stage 1's; may be coarser than the heat-maps.
      settings: the decoder's settings, default ``DecoderSettings()``.
      grouping: the K keypoint indices in the order in which candidates are grouped; default as in `decode`.
      region: the cells of ``heatmaps`` that lie in the picture; None: all. The others count as empty.
      **changes: single settings by name, e.g. ``threshold=0.2``.

    Returns:
      people: (N, K, 3 + T) float32: x, y, score, tags, in the order in which the people were opened. x (right) and y
        (down) are in cells of ``heatmaps``, in the continuous frame: cell j covers [j, j + 1). An absent joint is
        all 0; one that refinement found has tags 0.

      scores: (N,) float32: the mean of a person's K joint scores before refinement, absent joints counting 0.

    Raises:
      UsageError: shapes that do not belong together, maps with NaN or infinity, an impossible setting or grouping.
    """
    settings = dataclasses.replace(settings or DecoderSettings(), **changes)
    heatmaps, tags = _check(heatmaps, tags)
    grouping = grouping_order(grouping, heatmaps.shape[2])
    region = tuple(region or (0, 0, *heatmaps.shape[:2]))
    top, left, bottom, right = region
    if not (0 <= top <= bottom <= heatmaps.shape[0] and 0 <= left <= right <= heatmaps.shape[1]):
        raise UsageError(f"region {region}: not top, left, bottom, right within {heatmaps.shape[:2]} cells")
    cells = _Cells(heatmaps, settings.threshold, region)
    cell_tags = cells.read_tags(tags)
    if not np.isfinite(cell_tags).all():
        raise UsageError("tags: hold NaN or infinity (does the model overflow in float16, or has it diverged?)")

    peaks = _peaks(cells, settings.nms_kernel)
    order = peaks[np.lexsort((-cells.heat[peaks], cells.keypoint[peaks]))]
    places = np.column_stack((cells.x[order], cells.y[order])) + np.float32(0.5)
    if settings.adjust:
        places += fit(cells.window(order, FITTED))
    found = np.column_stack((places, cells.heat[order], cell_tags[order])).astype(np.float32)
    bounds = np.searchsorted(cells.keypoint[order], np.arange(heatmaps.shape[2] + 1))
    most = settings.max_people
    candidates = [found[a : min(a + most, b)] for a, b in zip(bounds, bounds[1:])]
    people = group_greedily(candidates, settings, grouping)
    scores = people[:, :, 2].mean(axis=1)
    if settings.refine and len(people):
        _refine(people[: settings.max_people], cells, cell_tags)
    return people, scores


class _Cells:
    """The cells of (H, W, K) heat-maps whose heat exceeds a threshold, ordered by keypoint, then row by row.

    Attributes:
      y, x, keypoint: (M,) their indices.
      heat: (M,) float32.
      bounds: K + 1 numbers: keypoint k has the cells from bounds[k] to bounds[k + 1].
    """

    def __init__(self, heatmaps: np.ndarray, threshold: float, region: Region):
        self._shape = height, width, count = heatmaps.shape
        self._region = region
        self._flat = heatmaps.reshape(-1)
        index = np.flatnonzero(self._flat > threshold)
        pixel, keypoint = np.divmod(index, count)
        order = np.argsort(keypoint.astype(np.uint16), kind="stable")
        y, x = np.divmod(pixel[order], width)
        top, left, bottom, right = region
        if (bottom - top, right - left) != (height, width):
            inside = (y >= top) & (y < bottom) & (x >= left) & (x < right)
            order, y, x = order[inside], y[inside], x[inside]
        self.y, self.x, self.keypoint, self._index = y, x, keypoint[order], index[order]
        self.heat = self._flat[self._index]
        self.bounds = np.searchsorted(self.keypoint, np.arange(count + 1)).tolist()

    def read_tags(self, tags: np.ndarray) -> np.ndarray:
        """(M, T) float32: tags (h, w, K, T) under the cells' centres."""
        height, width, count, dimensions = tags.shape
        rows, columns = ((2 * np.arange(n) + 1) * m // (2 * n) for n, m in zip(self._shape, (height, width)))
        index = (rows[self.y] * width + columns[self.x]) * count + self.keypoint
        with np.errstate(over="ignore"):
            return tags.reshape(-1, dimensions)[index].astype(np.float32, copy=False)

    def not_above(self) -> np.ndarray:
        """Indices of the cells that none of the four nearest exceeds."""
        top, left, bottom, right = self._region
        _, width, count = self._shape
        kept = np.arange(len(self.heat))
        for step, edge, at in (
            (count, self.x, right - 1),
            (-count, self.x, left),
            (width * count, self.y, bottom - 1),
            (-width * count, self.y, top),
        ):
            nearest = self._flat.take(self._index[kept] + step, mode="clip")
            kept = kept[(self.heat[kept] >= nearest) | (edge[kept] == at)]
        return kept

    def window(self, which: np.ndarray, side: int) -> np.ndarray:
        """(n, side, side) heat round some of the cells; what lies beyond the region is taken from its edge."""
        top, left, bottom, right = self._region
        steps = np.arange(side) - side // 2
        rows = np.minimum(np.maximum(self.y[which, None] + steps, top), bottom - 1) * self._shape[1]
        columns = np.minimum(np.maximum(self.x[which, None] + steps, left), right - 1)
        return self._flat[(rows[:, :, None] + columns[:, None]) * self._shape[2] + self.keypoint[which, None, None]]

    def inside(self, which: np.ndarray, side: int) -> np.ndarray:
        """(n, side, side) whether the cells of such windows lie in the region."""
        top, left, bottom, right = self._region
        steps = np.arange(side) - side // 2
        rows, columns = self.y[which, None] + steps, self.x[which, None] + steps
        rows, columns = (rows >= top) & (rows < bottom), (columns >= left) & (columns < right)
        return rows[:, :, None] & columns[:, None]


def _check(heatmaps: np.ndarray, tags: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """float32 heat-maps (H, W, K) and tags (h, w, K, T)."""
    heatmaps, tags = np.asarray(heatmaps), np.asarray(tags)
    if heatmaps.ndim != 3 or tags.ndim not in (3, 4) or heatmaps.shape[2] != tags.shape[2]:
        raise UsageError(f"heatmaps {heatmaps.shape}, tags {tags.shape}: give (H, W, K) and (h, w, K) or (h, w, K, T)")
    if 0 in heatmaps.shape or 0 in tags.shape:
        raise UsageError(f"heatmaps {heatmaps.shape}, tags {tags.shape}: every dimension must be at least 1")
    with np.errstate(over="ignore"):
        heatmaps = np.ascontiguousarray(heatmaps, np.float32)
    flat = heatmaps.reshape(-1)
    with np.errstate(over="ignore", invalid="ignore"):
        squares = flat.dot(flat)
    if not np.isfinite(squares) and not np.isfinite(flat).all():  # the first, quicker, may overflow
        raise UsageError("heatmaps: hold NaN or infinity (does the model overflow in float16, or has it diverged?)")
    return heatmaps, tags if tags.ndim == 4 else tags[..., None]


def _peaks(cells: _Cells, kernel: int) -> np.ndarray:
    """Indices of the cells that equal the maximum of the ``kernel``-sided window around them.

    Of touching cells that are equal, as an integer network gives where a keypoint lies between two, the first.
    """
    if kernel == 1:
        return np.arange(len(cells.heat))
    peaks = cells.not_above()
    window = cells.window(peaks, kernel)
    highest = (window <= cells.heat[peaks, None, None]).all(axis=(1, 2))
    peaks, window = peaks[highest], window[highest]
    touching = slice(kernel // 2 - 1, kernel // 2 + 2)
    tied = window[:, touching, touching].reshape(len(peaks), 9)[:, :4] == cells.heat[peaks, None]
    if tied.any():  # what lies beyond the edge repeats it, and so perhaps the cell itself, which is no earlier one
        tied &= cells.inside(peaks, 3).reshape(len(peaks), 9)[:, :4]
    return peaks[~tied.any(axis=1)]


def group_greedily(candidates: Sequence[np.ndarray], settings: DecoderSettings, grouping: Sequence[int]) -> np.ndarray:
    """`decoder.group` with another assignment: pairs closer than ``tag_threshold``, the least cost first.

    The cost of a pair is the rounded tag distance (times `ROUND`) less the candidate's heat. The optimal assignment
    weighs pairs that are too far apart as well, and gives up near ones for them. Plain Python: for a few people it is
    three times as fast as arrays.

    Args:
      candidates: K arrays (n, 3 + T): x, y, heat, tags, in descending order of heat.
      settings: ``tag_threshold`` and ``max_people`` count.
      grouping: the K keypoint indices in the order of the visit.

    Returns:
      as `decoder.group`.
    """
    means: list[list[float]] = []  # a person's tags so far
    joints: list[int] = []
    owners: list[int] = []
    for keypoint in grouping:
        heats, tags = candidates[keypoint][:, 2].tolist(), candidates[keypoint][:, 3:].tolist()
        pairs = [
            (round(distance) * ROUND + person * EARLIER - heats[new], new, person)
            for person, mean in enumerate(means[: settings.max_people])
            for new, tag in enumerate(tags)
            if (distance := math.dist(tag, mean)) < settings.tag_threshold
        ]
        joins: dict[int, int] = {}
        for _, new, person in sorted(pairs):
            if new not in joins and person not in joins.values():
                joins[new] = person
        for new, tag in enumerate(tags):
            person = joins.get(new, len(means))
            if person == len(means):
                means.append(tag)
                joints.append(1)
            else:
                joints[person] += 1
                means[person] = [m + (t - m) / joints[person] for m, t in zip(means[person], tag)]
            owners.append(person)
    people = np.zeros((len(means), len(candidates), candidates[0].shape[1]), np.float32)
    visited = [candidates[keypoint] for keypoint in grouping]
    people[owners, np.repeat(grouping, [len(new) for new in visited])] = np.concatenate(visited)
    return people


def fit(window: np.ndarray) -> np.ndarray:
    """How far from peaks' centres the maxima of fitted quadratics lie.

    Fitted to the logarithms of the heats, which make a Gaussian peak exactly quadratic.

    Args:
      window: (n, 3, 3) float32, the heat round the peaks.

    Returns:
      (n, 2) float32, in x and y, within ±1 cell; 0 where the quadratic has no maximum, or hardly one.
    """
    least = np.maximum(LOWEST * window[:, 1:2, 1:2], np.finfo(np.float32).tiny)
    logs = np.log(np.maximum(window, least)).reshape(-1, 9)
    slope_x, slope_y, curve_x, curve_y, twist = (logs @ FIT).T
    determinant = curve_x * curve_y - twist * twist
    round_top = (determinant > FLATTEST) & (curve_x < 0)
    offset = np.column_stack((slope_y * twist - slope_x * curve_y, slope_x * twist - slope_y * curve_x))
    offset /= np.where(round_top, determinant, 1)[:, None]
    return np.where(round_top[:, None], offset.clip(-1, 1), np.float32(0))


def _refine(people: np.ndarray, cells: _Cells, cell_tags: np.ndarray) -> None:
    """Gives people the joints that they lack, in place: the cell with the highest positive heat - round(tag distance).

    The place is a quarter of a cell from the cell's centre, towards the higher neighbours.
    """
    missing = people[:, :, 2] <= 0
    means = people[:, :, 3:].sum(axis=1) / (~missing).sum(axis=1, dtype=np.float32)[:, None]
    people_of, chosen = [], []
    for keypoint, (start, end) in enumerate(zip(cells.bounds, cells.bounds[1:])):
        who = np.flatnonzero(missing[:, keypoint])
        if start == end or not len(who):
            continue
        value = cells.heat[start:end] - np.rint(tag_distance(means[who], cell_tags[start:end]))
        positive = np.flatnonzero(value.max(axis=1) > 0)
        if len(positive):
            people_of.append(who[positive])
            chosen.append(start + value[positive].argmax(axis=1))
    if not chosen:
        return
    who, found = np.concatenate(people_of), np.concatenate(chosen)
    window, keypoint = cells.window(found, 3), cells.keypoint[found]
    people[who, keypoint, 0] = cells.x[found] + np.where(window[:, 1, 2] > window[:, 1, 0], 0.75, 0.25)
    people[who, keypoint, 1] = cells.y[found] + np.where(window[:, 2, 1] > window[:, 0, 1], 0.75, 0.25)
    people[who, keypoint, 2] = cells.heat[found]
