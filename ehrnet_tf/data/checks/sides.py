"""People whose left and right are probably exchanged, from the geometry of their keypoints alone.

Two tests, both unmoved by where, how large and how turned a person is:

- A face is seen from the front only. Where both eyes and the nose are visible (v = 2), the nose lies on a fixed side of
  the way from the right eye to the left one; on the other side, the face is mirrored.
- The right-to-left directions of eyes, ears, shoulders, elbows and hips point the same way, within limits of how far a
  body twists. Where two of them point against each other, one of them is exchanged. (Wrists, knees and ankles cross.)

The parts are found by the words of keypoint names ("left_eye": left, eye); a set without such names is not tested.
"""

from __future__ import annotations

import numpy as np

from ehrnet_tf.data.checks.annotations import Split
from ehrnet_tf.data.checks.findings import Case, Findings
from ehrnet_tf.data.checks.people import people_by_picture
from ehrnet_tf.keypoints import KeypointSet

_RIGID = frozenset({"eye", "ear", "shoulder", "elbow", "hip"})
_OFFSET = 0.2  # of the nose from the eyes' line, over the longer of that and the eyes' distance (squared: an area)
_LENGTH = 0.1  # the least length of a direction, over the person's extent
_COSINE = 0.5  # directions more across each other than this tell nothing
_FACES = 10  # so many faces, most of them mirrored, make a mirrored data set


def check_sides(split: Split, findings: Findings) -> None:
    """Notes mirrored faces, pictures and data sets, and people with contradictory sides."""
    seen, mirrored = mirrored_faces(split.points, split.keypoint_set)
    if seen.sum() >= _FACES and mirrored.sum() > seen.sum() / 2:
        cases = [Case("", detail=f"{split.name}: {mirrored.sum()} of {seen.sum()} faces are mirrored")]
        remedy = "left is the person's own left: exchange the names, or the flip_pairs' order"
        findings.note("error", "sides_all", "left and right exchanged throughout", remedy, cases)
        return
    remedy = "look at them; left is the person's own left"
    pictures = [g for g in people_by_picture(split) if seen[g].sum() > 1 and (mirrored[g] == seen[g]).all()]
    cases = [Case(split.case(g[0]).picture, detail=f"all {seen[g].sum()} faces") for g in pictures]
    findings.note("warning", "sides_picture", "pictures that seem to be mirrored", remedy, cases)
    alone = mirrored.copy()
    alone[[person for group in pictures for person in group]] = False
    cases = [split.case(i, "left and right of the face exchanged") for i in np.flatnonzero(alone).tolist()]
    findings.note("warning", "sides_face", "people whose face is mirrored", remedy, cases)
    crossed, parts = crossed_parts(split.points, split.keypoint_set)
    found = np.flatnonzero(crossed.any(axis=(1, 2))).tolist()
    cases = [split.case(i, _against(crossed[i], parts)) for i in found]
    findings.note("warning", "sides_crossed", "people whose left and right contradict themselves", remedy, cases)


def mirrored_faces(points: np.ndarray, keypoint_set: KeypointSet) -> tuple[np.ndarray, np.ndarray]:
    """Whose face is seen (both eyes and the nose have v = 2), and whose is mirrored beyond doubt.

    Args:
      points: (P, K, 3): x right and y down, v.
      keypoint_set: K keypoints.

    Returns:
      Two (P,) bool; the second is a part of the first.
    """
    eyes = _sided_pairs(keypoint_set, {"eye"})
    noses = [k for k, name in enumerate(keypoint_set.names) if "nose" in _words(name)]
    if len(eyes) != 1 or len(noses) != 1:
        return np.zeros(len(points), bool), np.zeros(len(points), bool)
    left, right, nose = eyes[0][1], eyes[0][2], noses[0]
    seen = (points[:, (left, right, nose), 2] == 2).all(axis=1)
    across = points[:, left, :2] - points[:, right, :2]
    down = points[:, nose, :2] - (points[:, left, :2] + points[:, right, :2]) / 2
    area = across[:, 0] * down[:, 1] - across[:, 1] * down[:, 0]
    square = np.maximum((across**2).sum(axis=1), (down**2).sum(axis=1))
    return seen, seen & (area < -_OFFSET * square)


def crossed_parts(points: np.ndarray, keypoint_set: KeypointSet) -> tuple[np.ndarray, list[str]]:
    """Which parts' right-to-left directions point against each other.

    Args:
      points, keypoint_set: as for `mirrored_faces`.

    Returns:
      (P, n, n) bool, symmetric, and the names of the n parts ("shoulder").
    """
    pairs = _sided_pairs(keypoint_set, _RIGID)
    left, right = [pair[1] for pair in pairs], [pair[2] for pair in pairs]
    labelled = points[:, :, 2] > 0
    both = labelled[:, left] & labelled[:, right]
    low = np.where(labelled[:, :, None], points[:, :, :2], np.inf).min(axis=1)
    high = np.where(labelled[:, :, None], points[:, :, :2], -np.inf).max(axis=1)
    extent = np.maximum((high - low).max(axis=1), 1)
    across = points[:, left, :2] - points[:, right, :2]
    length = np.linalg.norm(across, axis=2)
    clear = both & (length > _LENGTH * extent[:, None])
    dot = across @ across.transpose(0, 2, 1)
    against = dot < -_COSINE * length[:, :, None] * length[:, None, :]
    return against & clear[:, :, None] & clear[:, None, :], [pair[0] for pair in pairs]


def _sided_pairs(keypoint_set: KeypointSet, parts: set[str] | frozenset[str]) -> list[tuple[str, int, int]]:
    """Part, left and right index of the mirrored pairs that are one of the parts."""
    pairs = []
    for pair in keypoint_set.flip_pairs:
        left, right = sorted(pair, key=lambda k: "left" not in _words(keypoint_set.names[k]))
        words = _words(keypoint_set.names[left])
        if "left" in words and "right" in _words(keypoint_set.names[right]) and words & parts:
            pairs.append((next(iter(words & parts)), left, right))
    return pairs


def _words(name: str) -> set[str]:
    return set(name.lower().replace("-", "_").replace(" ", "_").split("_"))


def _against(crossed: np.ndarray, parts: list[str]) -> str:
    """The part that contradicts the most others, and those."""
    worst = int(crossed.sum(axis=0).argmax())
    others = " and ".join(parts[j] + "s" for j in np.flatnonzero(crossed[worst]).tolist())
    return f"{parts[worst]}s against {others}"
