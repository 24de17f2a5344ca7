"""Scoring models on COCO keypoint data."""

from __future__ import annotations

import importlib
from typing import Any

_HOMES = {
    "average_precision": "ehrnet_tf.evaluation.coco_ap",
    "evaluate": "ehrnet_tf.evaluation.scoring",
}
__all__ = ["average_precision", "evaluate"]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
