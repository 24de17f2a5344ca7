"""Average precision of keypoints as COCO defines it, by pycocotools."""

from __future__ import annotations

import contextlib
import io
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ehrnet_tf.errors import DataError, MissingExtraError
from ehrnet_tf.keypoints import KeypointSet

FIGURES = ("AP", "AP50", "AP75", "AP_M", "AP_L", "AR", "AR50", "AR75", "AR_M", "AR_L")


def average_precision(
    ground_truth: str | os.PathLike | Mapping[str, Any],
    results: Sequence[Mapping[str, Any]],
    keypoints: KeypointSet,
    image_ids: Iterable[Any] | None = None,
) -> dict[str, float]:
    """The ten COCO keypoint figures.

    Args:
      ground_truth: the path of a COCO keypoint json, or its contents.
      results: COCO results: image_id, keypoints (3 K numbers: x, y, score), score; all of the set's category.
      keypoints: the set; its category is scored, with its sigmas.
      image_ids: the pictures to score; None: all that the ground truth lists.

    Returns:
      AP, AP50, AP75, AP_M, AP_L, AR, AR50, AR75, AR_M, AR_L, each in 0..1; as in COCO, -1 where the ground truth holds
      nobody to find (as in AP_M without people of medium size).

    Raises:
      DataError: the ground truth is missing, is not COCO keypoints, or does not list a result's picture.
      MissingExtraError: pycocotools is not installed.
    """
    scoring = coco_scoring(ground_truth, results, keypoints, image_ids)
    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools prints
        scoring.evaluate()
        scoring.accumulate()
        scoring.summarize()
    return {name: float(value) for name, value in zip(FIGURES, scoring.stats, strict=True)}


def coco_scoring(
    ground_truth: str | os.PathLike | Mapping[str, Any],
    results: Sequence[Mapping[str, Any]],
    keypoints: KeypointSet,
    image_ids: Iterable[Any] | None = None,
) -> Any:
    """A pycocotools `COCOeval` ready for `evaluate`; arguments and errors as for `average_precision`."""
    try:
        from pycocotools.coco import COCO
        from pycocotools.cocoeval import COCOeval
    except ImportError as error:
        raise MissingExtraError("pycocotools", "train") from error

    truth, source = _read(ground_truth)
    category = _find_category(truth, keypoints, source)
    listed = {image["id"] for image in truth["images"]}
    ids = sorted(listed if image_ids is None else set(image_ids))
    for image_id in (*ids, *(r["image_id"] for r in results)):
        if image_id not in listed:
            raise DataError(f"{source}: lists no picture {image_id!r}; give the json that the results were made for")

    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools prints
        scoring = COCOeval(
            _index(COCO(), truth["images"], _complete(truth["annotations"], category, keypoints)),
            _index(COCO(), truth["images"], _detections(results, category)),
            "keypoints",
        )
    scoring.params.kpt_oks_sigmas = np.array(keypoints.sigmas)
    scoring.params.imgIds = ids
    scoring.params.catIds = [category]
    return scoring


def _read(ground_truth: str | os.PathLike | Mapping[str, Any]) -> tuple[Mapping[str, Any], str]:
    """The ground truth's contents, and what error messages call it."""
    source = "ground truth"
    if not isinstance(ground_truth, Mapping):
        source = str(ground_truth)
        try:
            ground_truth = json.loads(Path(ground_truth).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise DataError(f"{source}: not readable as JSON ({' '.join(str(error).split())})") from error
    for key in ("images", "annotations", "categories"):
        if not isinstance(ground_truth, Mapping) or not isinstance(ground_truth.get(key), list):
            raise DataError(f"{source}: has no list '{key}'; a COCO keypoint file is needed")
    return ground_truth, source


def _find_category(truth: Mapping[str, Any], keypoints: KeypointSet, source: str) -> Any:
    for category in truth["categories"]:
        if category.get("name") == keypoints.category:
            return category["id"]
    raise DataError(f"{source}: has no category '{keypoints.category}'; name its own as the keypoint set's category")


def _complete(annotations: Sequence[Mapping[str, Any]], category: Any, keypoints: KeypointSet) -> list[dict[str, Any]]:
    """Copies of the category's annotations with the keys that COCOeval counts on and hand-made files lack.

    Where the keypoints stand in several lists, "keypoints" and "num_keypoints" of the copies are those of them all.
    """
    completed = []
    for number, annotation in enumerate(annotations, start=1):
        if annotation.get("category_id") != category:
            continue
        points = keypoints.labels(annotation) or [0, 0, 0]
        labelled = {"keypoints": points, "num_keypoints": sum(v > 0 for v in points[2::3])}
        box = annotation.get("bbox") or _box(points)
        defaults = {"iscrowd": 0, "bbox": box, "area": box[2] * box[3] * keypoints.area_per_box, **labelled}
        joined = labelled if len(keypoints.annotation_keys) > 1 else {}
        # COCOeval takes an id of 0 for "unmatched"
        completed.append({**defaults, **annotation, **joined, "id": number})
    return completed


def _detections(results: Sequence[Mapping[str, Any]], category: Any) -> list[dict[str, Any]]:
    """Results as annotations, with the box and area that `COCO.loadRes` gives them (it refuses an empty list)."""
    detections = []
    for number, result in enumerate(results, start=1):
        points = list(result["keypoints"])
        x, y = points[0::3], points[1::3]
        box = [min(x), min(y), max(x) - min(x), max(y) - min(y)]
        detections.append(
            {
                "id": number,
                "image_id": result["image_id"],
                "category_id": category,
                "keypoints": points,
                "score": result["score"],
                "bbox": box,
                "area": box[2] * box[3],
            }
        )
    return detections


def _box(points: Sequence[float]) -> list[float]:
    """Left, top, width, height around the labelled points."""
    labelled = np.array(points, float).reshape(-1, 3)
    labelled = labelled[labelled[:, 2] > 0, :2]
    if not len(labelled):
        return [0.0, 0.0, 0.0, 0.0]
    low, high = labelled.min(axis=0), labelled.max(axis=0)
    return [*low.tolist(), *(high - low).tolist()]


def _index(coco: Any, images: list, annotations: list[dict[str, Any]]) -> Any:
    coco.dataset = {"images": images, "annotations": annotations, "categories": []}
    coco.createIndex()
    return coco
