"""Where a model fails: by keypoint, by the size of people, and person by person.

Kinds of error as in Ronchi and Perona, "Benchmarking and Error Diagnosis in Multi-Instance Pose Estimation", 2017. A
labelled keypoint's similarity to a place is exp(-d² / (2 area (2 sigma)²)), its term in COCO's OKS.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from ehrnet_tf.evaluation.coco_ap import coco_scoring
from ehrnet_tf.keypoints import KeypointSet

GOOD, NEAR = 0.85, 0.5  # similarities: at least GOOD: right; at least NEAR: jitter
KINDS = ("good", "jitter", "inversion", "swap", "miss")
SIZES = {  # areas of labelled people, pixels: from, below
    "32-64 px": (32**2, 64**2),
    "64-96 px": (64**2, 96**2),
    "96-192 px": (96**2, 192**2),
    "over 192 px": (192**2, 1e10),
}
_MATCH = 0.1  # OKS from which a found person is taken for a labelled one


@dataclasses.dataclass(frozen=True, eq=False)
class Person:
    """A labelled person, and what was found of it.

    Attributes:
      image_id: of the picture.
      labelled: (K, 3): x, y in picture pixels, COCO's visibility flag.
      area: in pixels².
      box: left, top, width, height of the annotation.
      found: (K, 3) of the matching result, x, y, score; None: nobody similar was found.
      similarity: (K,) of the found joints, 0..1; 0 where nothing is labelled or found.
      kinds: K of `KINDS`, "" where nothing is labelled.
    """

    image_id: Any
    labelled: np.ndarray
    area: float
    box: tuple[float, float, float, float]
    found: np.ndarray | None
    similarity: np.ndarray
    kinds: tuple[str, ...]

    @property
    def oks(self) -> float:
        """The person's object keypoint similarity."""
        labelled = self.labelled[:, 2] > 0
        return float(self.similarity[labelled].mean()) if labelled.any() else 0.0

    def count(self, kind: str) -> int:
        return self.kinds.count(kind)


def breakdown(
    ground_truth: str | os.PathLike | Mapping[str, Any],
    results: Sequence[Mapping[str, Any]],
    keypoints: KeypointSet,
    image_ids: Iterable[Any] | None = None,
) -> dict[str, Any]:
    """Figures by keypoint and by size; arguments and errors as for `average_precision`.

    Returns:
      "keypoints": name → {"labelled": how many; "AP": COCO's AP if this keypoint alone were labelled, -1 if none is;
      and the shares of "good", "jitter" (near), "inversion" (at another keypoint of the person), "swap" (at the same
      keypoint of somebody else) and "miss" among the labelled}. "sizes": name → {"people", "AP", "AR"} by the side of a
      square of the person's area.
    """
    ids = None if image_ids is None else list(image_ids)
    people = match_people(ground_truth, results, keypoints, ids)
    by_keypoint = {}
    for k, name in enumerate(keypoints.names):
        kinds = [p.kinds[k] for p in people if p.kinds[k]]
        shares = {kind: round(kinds.count(kind) / max(1, len(kinds)), 4) for kind in KINDS}
        by_keypoint[name] = {"labelled": len(kinds), "AP": _keypoint_ap(ground_truth, results, keypoints, ids, k)}
        by_keypoint[name].update(shares)
    return {"keypoints": by_keypoint, "sizes": _by_size(ground_truth, results, keypoints, ids, people)}


def match_people(
    ground_truth: str | os.PathLike | Mapping[str, Any],
    results: Sequence[Mapping[str, Any]],
    keypoints: KeypointSet,
    image_ids: Iterable[Any] | None = None,
) -> list[Person]:
    """Every labelled person with the result that COCO's matching gives it from an OKS of 0.1 on.

    Arguments and errors as for `average_precision`. Crowds and people without a labelled keypoint are left out.
    """
    scoring = coco_scoring(ground_truth, results, keypoints, image_ids)
    scoring.params.iouThrs = np.array([_MATCH])
    scoring.params.areaRng, scoring.params.areaRngLbl = [[0, 1e10]], ["all"]
    with contextlib.redirect_stdout(io.StringIO()):
        scoring.evaluate()
    variance = (2 * np.array(keypoints.sigmas)) ** 2
    people = []
    for entry in filter(None, scoring.evalImgs):
        everyone = {number: scoring.cocoGt.anns[number] for number in entry["gtIds"]}
        points = {number: np.array(a["keypoints"], float).reshape(-1, 3) for number, a in everyone.items()}
        matches = dict(zip(entry["gtIds"], entry["gtMatches"][0].astype(int).tolist(), strict=True))
        for number, annotation in everyone.items():
            if annotation["iscrowd"] or not annotation["num_keypoints"]:
                continue
            found = None
            if matches[number]:
                found = np.array(scoring.cocoDt.anns[matches[number]]["keypoints"], float).reshape(-1, 3)
            others = [p for other, p in points.items() if other != number and len(p) == len(keypoints)]
            scale = 2 * (annotation["area"] + np.spacing(1)) * variance
            people.append(_compare(annotation, points[number], found, others, scale))
    return people


def _compare(
    annotation: Mapping[str, Any],
    labelled: np.ndarray,
    found: np.ndarray | None,
    others: Sequence[np.ndarray],
    scale: np.ndarray,
) -> Person:
    """How a labelled person compares with the person found; ``scale`` (K,) is the Gaussians' 2 sigma², pixels²."""
    count = len(labelled)
    similarity, kinds = np.zeros(count), [""] * count
    for k in np.flatnonzero(labelled[:, 2] > 0):
        if found is None or found[k, 2] <= 0:
            kinds[k] = "miss"
            continue

        def near(points: np.ndarray, k: int = k) -> np.ndarray:
            close = np.exp(-np.square(points[:, :2] - found[k, :2]).sum(axis=1) / scale[k])
            return close * (points[:, 2] > 0)

        own = near(labelled)
        similarity[k] = own[k]
        if own[k] >= NEAR:
            kinds[k] = "good" if own[k] >= GOOD else "jitter"
        elif own.max() >= NEAR:
            kinds[k] = "inversion"
        elif others and near(np.array([other[k] for other in others])).max() >= NEAR:
            kinds[k] = "swap"
        else:
            kinds[k] = "miss"
    box = tuple(float(n) for n in annotation["bbox"])
    return Person(annotation["image_id"], labelled, annotation["area"], box, found, similarity, tuple(kinds))


def _keypoint_ap(ground_truth: Any, results: Any, keypoints: KeypointSet, ids: Any, k: int) -> float:
    """COCO AP if keypoint ``k`` alone were labelled."""
    scoring = coco_scoring(ground_truth, results, keypoints, ids)
    for annotation in scoring.cocoGt.anns.values():
        points = list(annotation["keypoints"])
        flags = [flag if index == k else 0 for index, flag in enumerate(points[2::3])]
        points[2::3] = flags
        annotation.update(keypoints=points, num_keypoints=int(any(flags)))
    scoring.params.areaRng, scoring.params.areaRngLbl = [[0, 1e10]], ["all"]
    return _accumulate(scoring)["all"]["AP"]


def _by_size(ground_truth: Any, results: Any, keypoints: KeypointSet, ids: Any, people: Sequence[Person]) -> dict:
    scoring = coco_scoring(ground_truth, results, keypoints, ids)
    scoring.params.areaRng = [list(limits) for limits in SIZES.values()]
    scoring.params.areaRngLbl = list(SIZES)
    figures = _accumulate(scoring)
    return {
        name: {"people": sum(low <= person.area < high for person in people), **figures[name]}
        for name, (low, high) in SIZES.items()
    }


def _accumulate(scoring: Any) -> dict[str, dict[str, float]]:
    """AP and AR by area label; -1 where nobody is labelled."""
    with contextlib.redirect_stdout(io.StringIO()):
        scoring.evaluate()
        scoring.accumulate()
    figures = {}
    for index, label in enumerate(scoring.params.areaRngLbl):
        precision = scoring.eval["precision"][:, :, 0, index, -1]
        recall = scoring.eval["recall"][:, 0, index, -1]
        figures[label] = {
            name: float(values[values > -1].mean()) if (values > -1).any() else -1.0
            for name, values in (("AP", precision), ("AR", recall))
        }
    return figures
