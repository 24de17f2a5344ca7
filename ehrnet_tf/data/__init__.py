"""Data: COCO keypoint files to batches of pictures, targets and masks; and a synthetic data set.

Importing this package is cheap: `coco_dataset` (which needs tensorflow) is looked up when it is first used.
"""

from __future__ import annotations

from typing import Any

from ehrnet_tf.errors import MissingExtraError

__all__ = ["coco_dataset"]


def __getattr__(name: str) -> Any:
    if name == "coco_dataset":
        try:
            from ehrnet_tf.data.pipeline import coco_dataset
        except ModuleNotFoundError as error:
            raise MissingExtraError(str(error.name), "train") from error
        return coco_dataset
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
