"""Heads made unrecognisable, for pictures that are published."""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Callable
from typing import NamedTuple

import cv2
import numpy as np

from ehrnet_tf.drawing import checked, present, side_of
from ehrnet_tf.errors import UsageError
from ehrnet_tf.keypoints import KeypointSet

HOW = ("blur", "pixelate")
LEAST_PERSON_SCORE = 0.05
"""From which score on people should be covered: lower than for drawing, since too many do less harm than too few."""

_FACE = {"nose", "eye", "ear", "face", "mouth", "lip", "chin", "jaw", "cheek", "brow", "eyebrow", "forehead", "temple"}
_CROWN = {"head", "crown"}
_SUPPORT = {"neck", "shoulder", "hip", "elbow", "knee"}

# The height of a head, chin to crown, over the distance between two keypoints of one person as seen from the side that
# makes it longest; foreshortening only makes a distance shorter, so the largest estimate counts. From the lengths of
# segments in Drillis and Contini, "Body Segment Parameters", 1966 (head 0.130 of the stature, shoulder to hip 0.288,
# upper arm 0.186, thigh 0.245) and from usual breadths of faces (pupils 63 mm apart, ears 150 mm, head 230 mm high),
# with a quarter to a half on top for children, whose heads are large for their bodies.
_RATIOS = {
    frozenset(("ear",)): 1.6,
    frozenset(("eye",)): 3.6,
    frozenset(("eye", "ear")): 2.6,
    frozenset(("nose", "ear")): 2.0,
    frozenset(("nose", "eye")): 4.0,
    frozenset(("head", "neck")): 1.0,
    frozenset(("nose", "neck")): 1.0,
    frozenset(("shoulder",)): 0.85,
    frozenset(("shoulder", "hip")): 0.6,
}
_FACE_SPREAD = 1.3  # the same for the largest distance between any two points of the face
_LIMBS = {  # of one side of the body; where nothing else tells the size
    frozenset(("shoulder", "elbow")): 0.9,
    frozenset(("hip", "knee")): 0.7,
}
_UNKNOWN = 0.2  # of the picture's shorter side: the head of someone with a single keypoint
_HIPS_TO_SHOULDERS = 2.2  # heads
_SHOULDERS_TO_HEAD = 0.9  # heads from the line of the shoulders to the middle of the head
_NECK_TO_HEAD = 0.6
_LEAST_RADIUS = 3.0  # pixels
_BLOCK, _LEAST_BLOCK = 1 / 5, 4.0  # heads, pixels
_SIGMA, _LEAST_SIGMA = 1 / 3, 2.5  # heads, pixels
_SMALL_SIGMA = 4.0  # pixels of the reduced picture in which a large head is blurred
_SHIFT = 4  # OpenCV's fixed-point coordinates: 1/16 pixel


def anonymise(
    image: np.ndarray, keypoints: np.ndarray, keypoint_set: KeypointSet, how: str = "blur", min_score: float = 0.0
) -> np.ndarray:
    """Covers the head of every person given; who is not given is not covered.

    A head is covered where `head_discs` finds it. "pixelate" leaves blocks of a fifth of the head's height, "blur" a
    Gaussian's sigma of a third of it; both read what is already covered, so that of two heads one behind the other
    neither shows through. Draw poses afterwards, on the result.

    Args:
      image: (H, W, 3) uint8, RGB.
      keypoints: (N, K, 3): x and y in pixels, in the continuous frame (the first pixel's centre is 0.5, 0.5), score.
        Give all people from a score of `LEAST_PERSON_SCORE` on.
      keypoint_set: names the keypoints.
      how: "blur" or "pixelate".
      min_score: joints below this are not believed; 0: all that have a score above 0 are.

    Returns:
      (H, W, 3) uint8, RGB, a new array.

    Raises:
      UsageError: an unknown ``how``; the set names neither a head nor shoulders; the picture or the keypoints have
        another shape or dtype.
    """
    if how not in HOW:
        raise UsageError(f"anonymise '{how}': give {' or '.join(HOW)}")
    result = np.array(image, order="C")
    for head in heads(image, keypoints, keypoint_set, min_score):
        _cover(result, head, _blurred if how == "blur" else _pixelated)
    return result


class Head(NamedTuple):
    """Where a head is: the union of discs.

    Attributes:
      discs: (D, 3) float64: x, y of the middle (continuous frame) and radius, pixels.
      size: the height of the head, chin to crown, pixels; an estimate that is rather too large.
    """

    discs: np.ndarray
    size: float


def heads(image: np.ndarray, keypoints: np.ndarray, keypoint_set: KeypointSet, min_score: float = 0.0) -> list[Head]:
    """The heads that ``anonymise`` covers, one for each person who has a joint from which one can be estimated.

    With keypoints of the head: discs with a radius of 0.6 heads round each, and of 0.85 round their middle (1.1 if
    there is one keypoint). Without: a disc of 1.1 heads in the place that the neck or both shoulders and the hips
    tell. It has 1.5 heads where there are no hips, and the head is taken to be above the shoulders in the picture, or
    only one shoulder; and 2 where there are only hips, above these. The head's size is the largest that the distances
    between eyes, ears, nose, neck, shoulders and hips speak for, at usual proportions; where there are none of these,
    elbows and knees tell it.

    Args and errors: as ``anonymise``.
    """
    keypoints = checked(image, keypoints, keypoint_set)
    parts = _parts(keypoint_set)
    height, width = image.shape[:2]
    reach = height + width  # beyond it no place matters, and OpenCV's integers would end
    found = []
    shown = present(keypoints, min_score)
    for number, joints in enumerate(keypoints):
        points = np.clip(joints[:, :2].astype(np.float64), -reach, 2 * reach)
        head = _find_head(points, shown[number], parts, min(height, width))
        if head is not None:
            found.append(head)
    return found


class _Parts(NamedTuple):
    """Which keypoints of a set are what."""

    face: np.ndarray  # indices
    crown: np.ndarray
    support: dict[str, np.ndarray]  # name of _SUPPORT to indices
    ratios: list[tuple[int, int, float]]  # a pair, and the head's height over its distance
    limbs: list[tuple[int, int, float]]


@functools.lru_cache(maxsize=8)
def _parts(keypoint_set: KeypointSet) -> _Parts:
    kinds = [_kind(name) for name in keypoint_set.names]
    places = {kind: np.array([k for k, own in enumerate(kinds) if own == kind], np.intp) for kind in _SUPPORT}
    face = np.array([k for k, kind in enumerate(kinds) if kind in _FACE], np.intp)
    crown = np.array([k for k, kind in enumerate(kinds) if kind in _CROWN], np.intp)
    if not (len(face) or len(crown) or len(places["neck"]) or len(places["shoulder"])):
        raise UsageError(
            f"keypoint set '{keypoint_set.name}': names neither a head (nose, eye, ear, head, neck ...) nor shoulders,"
            " so no head can be covered; name them so, or leave anonymising out"
        )
    ratios, limbs = [], []
    for a, first in enumerate(kinds):
        for b in range(a + 1, len(kinds)):
            pair = frozenset(("head" if kind in _CROWN else kind) for kind in (first, kinds[b]) if kind)
            if kinds[b] and first:
                if pair in _RATIOS:
                    ratios.append((a, b, _RATIOS[pair]))
                elif pair in _LIMBS and side_of(keypoint_set.names[a]) == side_of(keypoint_set.names[b]):
                    limbs.append((a, b, _LIMBS[pair]))
    return _Parts(face, crown, places, ratios, limbs)


def _kind(name: str) -> str:
    """The body part that a keypoint's name tells, one of the words above; "" for any other.

    Words are parted by other signs than letters and by capitals: left_eye, LEye, eye-3, head_top, upperNeck.
    """
    words = [word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", name)]
    words = [re.sub(r"^(left|right)(?=.)", "", word) for word in words]
    known = _FACE | _CROWN | _SUPPORT
    return next((single for word in words for single in (word, word[:-1]) if single in known), "")


def _find_head(points: np.ndarray, visible: np.ndarray, parts: _Parts, short: int) -> Head | None:
    """The head of one person with joints at ``points`` (K, 2), in a picture whose shorter side is ``short``."""
    face, crown = (indices[visible[indices]] for indices in (parts.face, parts.crown))
    support = {name: points[indices[visible[indices]]] for name, indices in parts.support.items()}
    size = _head_size(points, visible, parts, face, short)
    own = points[np.concatenate((face, crown))]
    if len(face) or (len(crown) and len(support["neck"])):
        own = own if len(face) else np.concatenate((own, support["neck"]))
        middle = (own.min(axis=0) + own.max(axis=0)) / 2
        return _discs(np.vstack((own, middle)), [0.6] * len(own) + [0.85 if len(own) > 1 else 1.1], size)
    if len(crown):
        below = support["shoulder"].mean(axis=0) if len(support["shoulder"]) else own.mean(axis=0) + (0, 1)
        middle = own.mean(axis=0) + 0.5 * size * _unit(below - own.mean(axis=0))
        return _discs(np.vstack((own, middle)), [0.85] * len(own) + [1.0], size)
    return _estimate(support, size)


def _head_size(points: np.ndarray, visible: np.ndarray, parts: _Parts, face: np.ndarray, short: int) -> float:
    """The height of the head in pixels, from whatever distances there are."""
    for measures in (parts.ratios, parts.limbs):
        sizes = [math.dist(points[a], points[b]) * ratio for a, b, ratio in measures if visible[a] and visible[b]]
        if measures is parts.ratios and len(face) > 1:
            sizes.append(_FACE_SPREAD * math.hypot(*np.ptp(points[face], axis=0)))
        if sizes:
            return max(sizes)
    return _UNKNOWN * short


def _estimate(support: dict[str, np.ndarray], size: float) -> Head | None:
    """The head of a person of whose head no keypoint is seen."""
    neck, shoulders, hips = (support[name] for name in ("neck", "shoulder", "hip"))
    base = next((part.mean(axis=0) for part in (neck, shoulders) if len(part)), None)
    up = np.array([0.0, -1.0])
    if base is None:
        if not len(hips):
            return None
        base = hips.mean(axis=0) + _HIPS_TO_SHOULDERS * size * up
    elif len(hips):
        up = _unit(base - hips.mean(axis=0))
    middle = base + size * up * (_NECK_TO_HEAD if len(neck) else _SHOULDERS_TO_HEAD)
    sure = len(hips) and (len(neck) or len(shoulders) > 1)
    radius = 1.1 if sure else 1.5 if len(neck) or len(shoulders) else 2.0
    return _discs(middle[None], [radius], size)


def _discs(middles: np.ndarray, radii: list[float], size: float) -> Head:
    return Head(np.column_stack((middles, np.maximum(np.array(radii) * size, _LEAST_RADIUS))), size)


def _unit(vector: np.ndarray) -> np.ndarray:
    """The vector at length 1; one without length points up in the picture."""
    length = float(np.hypot(*vector))
    return vector / length if length > 0 else np.array([0.0, -1.0])


def _cover(image: np.ndarray, head: Head, effect: Callable[[np.ndarray, float], np.ndarray]) -> None:
    """Puts ``effect`` of (picture, head's size) in the place of a head's pixels in ``image``."""
    height, width = image.shape[:2]
    centres, radii = head.discs[:, :2], head.discs[:, 2:]
    left, top = np.clip(np.floor((centres - radii).min(axis=0)), 0, (width, height)).astype(int).tolist()
    right, bottom = np.clip(np.ceil((centres + radii).max(axis=0)), 0, (width, height)).astype(int).tolist()
    if right <= left or bottom <= top:
        return
    mask = np.zeros((bottom - top, right - left), np.uint8)
    for x, y, radius in np.rint((head.discs - (left + 0.5, top + 0.5, 0)) * (1 << _SHIFT)).astype(int).tolist():
        cv2.circle(mask, (x, y), radius, 255, cv2.FILLED, cv2.LINE_8, _SHIFT)
    region = image[top:bottom, left:right]
    cv2.copyTo(effect(region, head.size), mask, region)


def _pixelated(picture: np.ndarray, size: float) -> np.ndarray:
    """The picture in blocks that are at least a fifth of a head of ``size`` pixels."""
    height, width = picture.shape[:2]
    block = max(_BLOCK * size, _LEAST_BLOCK)
    few = max(1, int(width / block)), max(1, int(height / block))
    return cv2.resize(
        cv2.resize(picture, few, interpolation=cv2.INTER_AREA), (width, height), interpolation=cv2.INTER_NEAREST
    )


def _blurred(picture: np.ndarray, size: float) -> np.ndarray:
    """The picture under a Gaussian; a large head is blurred in a reduced picture, which looks the same."""
    height, width = picture.shape[:2]
    sigma = max(_SIGMA * size, _LEAST_SIGMA)
    scale = max(1.0, sigma / _SMALL_SIGMA)
    few = max(1, round(width / scale)), max(1, round(height / scale))
    small = cv2.GaussianBlur(cv2.resize(picture, few, interpolation=cv2.INTER_AREA), (0, 0), sigma / scale)
    return cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR)
