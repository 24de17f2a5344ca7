"""Scores a model on a COCO keypoint split, through the same runner that predicts."""

from __future__ import annotations

import logging
import os
import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from tqdm import tqdm

from ehrnet_tf.data.coco import Record, Records, read_records
from ehrnet_tf.decoding import DecoderSettings
from ehrnet_tf.errors import DataError, UsageError
from ehrnet_tf.evaluation.coco_ap import average_precision
from ehrnet_tf.files import write_json
from ehrnet_tf.images import read_image
from ehrnet_tf.keypoints import KeypointSet
from ehrnet_tf.runtime.estimator import PoseEstimator
from ehrnet_tf.runtime.letterbox import Letterbox
from ehrnet_tf.runtime.runners import describe_size

_LOG = logging.getLogger("ehrnet_tf.evaluation")
_READERS = 2  # threads
STAGES = ("read", "resize", "network", "decode")


class _Picture(NamedTuple):
    """A picture ready for the network."""

    image_id: Any
    pixels: np.ndarray  # (H, W, 3) uint8
    box: Letterbox


def evaluate(
    model_or_runner: Any,
    root: str | os.PathLike,
    split: str = "val2017",
    limit: int | None = None,
    batch_size: int = 1,
    settings: DecoderSettings | None = None,
    progress: bool = True,
    results_path: str | os.PathLike | None = None,
    keypoints: str | os.PathLike | KeypointSet | None = None,
    input_size: int | tuple[int, int] | None = None,
    threads: int | None = None,
    records: Records | None = None,
) -> dict[str, Any]:
    """COCO keypoint figures of a model on all pictures of a split, with or without people.

    Pictures that cannot be read are skipped: counted in the result, named in the log "ehrnet_tf.evaluation", and left
    out of the score. The next pictures are read while the network runs.

    Args:
      model_or_runner: a Keras model, a model file's path or a `Runner`. Who evaluates one model repeatedly keeps one
        `KerasRunner` and saves the tracing.
      root: the data set's folder: annotations/person_keypoints_SPLIT.json and SPLIT/.
      split: which split.
      limit: only the first so many usable pictures.
      batch_size: pictures the network takes at once.
      settings: the decoder's; None: the model's own.
      progress: whether to show a progress bar (on stderr).
      results_path: where to write the COCO results as JSON; None: nowhere.
      keypoints, input_size, threads: see `PoseEstimator`.
      records: what `read_records` gave for the same split and limit, so that the files are not read twice.

    Returns:
      AP, AP50, AP75, AP_M, AP_L, AR, AR50, AR75, AR_M, AR_L (see `average_precision`); "images" scored and "skipped";
      "ms", mean milliseconds a picture of each stage: "read" and "resize" (in their own threads), "network", "decode";
      "protocol", "model", "precision", "threads".

    Raises:
      DataError: the folder, the json or every picture is missing or unusable.
      UsageError: ``batch_size`` or ``limit`` below 1, or as `PoseEstimator`.
      ModelFileError: the file cannot be run.
    """
    for name, value in (("batch_size", batch_size), ("limit", limit)):
        if value is not None and value < 1:
            raise UsageError(f"{name} {value}: must be at least 1")
    estimator = PoseEstimator(model_or_runner, threads, settings, keypoints, input_size)
    if records is None:
        records = read_records(root, split, estimator.keypoints, limit=limit)
    estimator.run(np.zeros((batch_size, *estimator.input_size, 3), np.uint8))  # tracing and first allocations

    seconds = dict.fromkeys(STAGES, 0.0)
    skipped = {name: reason for name, reason in records.skipped.items() if not name.startswith("annotation ")}
    results: list[dict[str, Any]] = []
    image_ids: list[Any] = []
    with tqdm(total=len(records), desc=f"evaluate {split}", unit="picture", disable=not progress) as bar:
        batch: list[_Picture] = []
        for number, picture in enumerate(_read_ahead(records, estimator, batch_size, seconds, skipped), start=1):
            if picture is not None:
                batch.append(picture)
            if batch and (len(batch) == batch_size or number == len(records)):
                results += _estimate(estimator, batch, seconds)
                image_ids += [p.image_id for p in batch]
                batch = []
            bar.update()
    if not image_ids:
        raise DataError(f"{Path(root) / split}: no picture could be read ({next(iter(skipped.values()))})")
    for name, reason in skipped.items():
        _LOG.warning("skipped %s: %s", name, reason)
    if results_path is not None:
        write_json(results_path, results, indent=None)
    return {
        **average_precision(records.annotation_file, results, estimator.keypoints, image_ids),
        "images": len(image_ids),
        "skipped": len(skipped),
        "ms": {stage: round(1000 * seconds[stage] / len(image_ids), 3) for stage in STAGES},
        "protocol": f"letterbox to {describe_size(estimator.input_size)}, no flip, single scale, exact decoder",
        "model": estimator.runner.name,
        "precision": estimator.runner.precision,
        "threads": estimator.runner.threads,
    }


def _read_ahead(
    records: Sequence[Record],
    estimator: PoseEstimator,
    batch_size: int,
    seconds: dict[str, float],
    skipped: dict[str, str],
) -> Iterator[_Picture | None]:
    """Every record's picture in turn, None for one that cannot be read; `2·batch_size + _READERS` are kept ready."""

    def read(record: Record) -> tuple[_Picture, float, float]:
        start = time.perf_counter()
        image = read_image(record.path)
        middle = time.perf_counter()
        pixels, box = estimator.prepare(image)
        return _Picture(record.image_id, pixels, box), middle - start, time.perf_counter() - middle

    with ThreadPoolExecutor(_READERS) as pool:
        coming = iter(records)
        waiting: deque = deque()
        while True:
            while len(waiting) < 2 * batch_size + _READERS and (record := next(coming, None)) is not None:
                waiting.append((record, pool.submit(read, record)))
            if not waiting:
                return
            record, future = waiting.popleft()
            try:
                picture, reading, resizing = future.result()
            except DataError as error:
                skipped[record.path] = str(error)
                yield None
                continue
            seconds["read"] += reading
            seconds["resize"] += resizing
            yield picture


def _estimate(estimator: PoseEstimator, batch: Sequence[_Picture], seconds: dict[str, float]) -> list[dict[str, Any]]:
    """The COCO results of a batch of pictures."""
    start = time.perf_counter()
    maps = estimator.run(np.stack([picture.pixels for picture in batch]))
    middle = time.perf_counter()
    results = []
    for k, picture in enumerate(batch):
        poses = estimator.decode({name: values[k] for name, values in maps.items()}, picture.box)
        results += poses.to_coco(picture.image_id)
    seconds["network"] += middle - start
    seconds["decode"] += time.perf_counter() - middle
    return results
