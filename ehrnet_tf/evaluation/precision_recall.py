"""Precision over recall, the curves whose mean height is COCO's AP."""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from ehrnet_tf.evaluation.coco_ap import coco_scoring
from ehrnet_tf.keypoints import KeypointSet

THRESHOLDS = {"OKS 0.50": 0.5, "OKS 0.75": 0.75}  # from which OKS on a person counts as found


def precision_recall(
    ground_truth: str | os.PathLike | Mapping[str, Any],
    results: Sequence[Mapping[str, Any]],
    keypoints: KeypointSet,
    image_ids: Iterable[Any] | None = None,
) -> dict[str, list[float]]:
    """Precision at every hundredth of recall; arguments and errors as for `average_precision`.

    Returns:
      "recall": 101 numbers from 0 to 1; "OKS 0.50", "OKS 0.75" and "mean" (of COCO's ten thresholds, 0.50 to 0.95): the
      precision there, as COCO interpolates it (the highest at this recall or a higher one; 0 beyond the highest recall
      reached). The means are AP50, AP75 and AP. Empty lists where the ground truth holds nobody to find.
    """
    scoring = coco_scoring(ground_truth, results, keypoints, image_ids)
    scoring.params.areaRng, scoring.params.areaRngLbl = [[0, 1e10]], ["all"]
    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools prints
        scoring.evaluate()
        scoring.accumulate()
    precision = scoring.eval["precision"][:, :, 0, 0, -1]  # thresholds, recalls
    if (precision < 0).any():
        return {name: [] for name in ("recall", *THRESHOLDS, "mean")}
    rows = {
        name: precision[np.flatnonzero(np.isclose(scoring.params.iouThrs, threshold))[0]]
        for name, threshold in THRESHOLDS.items()
    }
    curves = {"recall": scoring.params.recThrs, **rows, "mean": precision.mean(axis=0)}
    return {name: np.round(values, 4).tolist() for name, values in curves.items()}
