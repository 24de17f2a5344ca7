"""Scores a model on a COCO keypoint split, through the same runner that predicts."""

from __future__ import annotations

import dataclasses
import importlib.util
import logging
import os
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from tqdm import tqdm

from ehrnet_tf.data.coco import Record, Records, read_records
from ehrnet_tf.decoding import DecoderSettings
from ehrnet_tf.errors import DataError, MissingExtraError, UsageError
from ehrnet_tf.evaluation.bounds import BOUNDS
from ehrnet_tf.evaluation.breakdown import breakdown, match_people
from ehrnet_tf.evaluation.coco_ap import average_precision
from ehrnet_tf.evaluation.precision_recall import precision_recall
from ehrnet_tf.evaluation.progress import Progress, checksum
from ehrnet_tf.evaluation.worst import draw_worst
from ehrnet_tf.files import write_json
from ehrnet_tf.filters import Filters
from ehrnet_tf.images import decode_image
from ehrnet_tf.keypoints import KeypointSet
from ehrnet_tf.runtime.estimator import PoseEstimator, Prepared
from ehrnet_tf.runtime.protocol import Protocol
from ehrnet_tf.runtime.runners import open_runner

_LOG = logging.getLogger("ehrnet_tf.evaluation")
_READERS = 2  # threads
_WAITING = 4  # batches that may wait for the decoder
STAGES = ("read", "resize", "network", "decode")


class _Picture(NamedTuple):
    record: Record
    prepared: Prepared


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
    protocol: Protocol | None = None,
    filters: Filters | None = None,
    details: bool = False,
    worst: tuple[int, str | os.PathLike] | None = None,
    bounds: bool = False,
) -> dict[str, Any]:
    """COCO keypoint figures of a model on all pictures of a split, with or without people.

    Pictures that cannot be read are skipped: counted in the result, named in the log "ehrnet_tf.evaluation", and left
    out of the score. Reading, network and decoding overlap, each in threads of its own.

    With ``results_path`` and a model file, what is done so far lies beside it in a file ending in ``.part``. An
    evaluation that was stopped goes on from there if it is called again with the same model, data, protocol and
    settings.

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
      keypoints: see `PoseEstimator`.
      input_size: see `PoseEstimator`.
      threads: see `PoseEstimator`.
      records: what `read_records` gave for the same split and limit, so that the files are not read twice.
      protocol: decoder and test-time options; None: the exact decoder, or that inside the file.
      filters: what is left out of the poses; None: nothing.
      details: whether to break the figures down by keypoint and size (see `breakdown`) and give `precision_recall`.
      worst: how many of the worst misses to draw, and into which folder (see `draw_worst`); None: none.
      bounds: whether to tell what holds the AP back (see `evaluation.bounds`); every picture is decoded three times.

    Returns:
      AP, AP50, AP75, AP_M, AP_L, AR, AR50, AR75, AR_M, AR_L (see `average_precision`); "images" scored and "skipped";
      "ms", mean milliseconds a picture of each stage: "read" and "resize" (in their own threads), "network", "decode"
      (in its own thread), and "wall", what a picture took in all; "protocol", "model", "precision", "threads"; with
      ``details`` also "keypoints", "sizes" and "precision_recall"; with ``bounds`` also "AP_true_groups", the AP of the
      network's heat-maps with tags that tell the people apart without fault, and "AP_true_heatmaps", that of its tags
      with heat-maps without fault.

    Raises:
      DataError: the folder, the json or every picture is missing or unusable.
      UsageError: ``batch_size`` or ``limit`` below 1, ``bounds`` with flip, scales or a decoder inside the file, or as
        `PoseEstimator`.
      ModelFileError: the file cannot be run.
    """
    for name, value in (("batch_size", batch_size), ("limit", limit), ("worst", worst[0] if worst else None)):
        if value is not None and value < 1:
            raise UsageError(f"{name} {value}: must be at least 1")
    if importlib.util.find_spec("pycocotools") is None:  # said before the work is done
        raise MissingExtraError("pycocotools", "train")
    runner = open_runner(model_or_runner, threads, keypoints)
    if protocol is None:
        protocol = Protocol() if runner.graph == "poses" else Protocol("exact")
    estimator = PoseEstimator(runner, threads, settings, keypoints, input_size, 0, protocol, filters)
    if bounds and (runner.graph == "poses" or protocol not in (Protocol("exact"), Protocol("live"))):
        raise UsageError(f"{runner.name}: bounds need maps, one scale, no flip and the letterbox")
    if records is None:
        records = read_records(root, split, estimator.keypoints, limit=limit)
    blank = estimator.prepare(np.zeros((*estimator.input_size, 3), np.uint8))
    estimator.run([blank] * batch_size)  # tracing and first allocations

    partial = None if bounds else _open_partial(results_path, estimator, records, split)
    bounding: dict[str, list] = {name: [] for name in BOUNDS} if bounds else {}
    seconds = dict.fromkeys(STAGES, 0.0)
    skipped = {name: reason for name, reason in records.skipped.items() if not name.startswith("annotation ")}
    done = partial.done if partial else {}
    found: dict[Any, list[dict[str, Any]]] = {r.image_id: done[r.image_id] for r in records if r.image_id in done}
    waiting = [record for record in records if record.image_id not in found]
    if found:
        _LOG.info("%s: going on after %d of %d pictures", partial.path, len(found), len(records))
    begin = time.perf_counter()
    try:
        with tqdm(
            total=len(records), initial=len(found), desc=f"evaluate {split}", unit="picture", disable=not progress
        ) as bar:
            for image_id, results in _estimate(
                waiting, records.category_id, estimator, batch_size, seconds, skipped, bounding, bar.update
            ):
                found[image_id] = results
                if partial:
                    partial.add(image_id, results)
    except KeyboardInterrupt:
        remedy = "the same command goes on from there" if partial else "with a results file it could be gone on with"
        _LOG.warning("stopped after %d of %d pictures; %s", len(found), len(records), remedy)
        raise
    finally:
        if partial:
            partial.close()
    wall = time.perf_counter() - begin
    if not found:
        raise DataError(f"{Path(root) / split}: no picture could be read ({next(iter(skipped.values()))})")
    for name, reason in skipped.items():
        _LOG.warning("skipped %s: %s", name, reason)
    results = [result for record in records for result in found.get(record.image_id, ())]
    if results_path is not None:
        write_json(results_path, results, indent=None)
    if partial:
        partial.close(remove=True)

    scored = (records.annotation_file, results, estimator.keypoints, list(found))
    now = max(1, len([record for record in waiting if record.image_id in found]))
    if worst:
        draw_worst(match_people(*scored), results, records, estimator.keypoints, *worst)
    return {
        **average_precision(*scored),
        "images": len(found),
        "skipped": len(skipped),
        "ms": {stage: round(1000 * t / now, 3) for stage, t in {**seconds, "wall": wall}.items()},
        "protocol": estimator.describe(),
        "model": estimator.runner.name,
        "precision": estimator.runner.precision,
        "threads": estimator.runner.threads,
        **({**breakdown(*scored), "precision_recall": precision_recall(*scored)} if details else {}),
        **{
            name: average_precision(records.annotation_file, guided, estimator.keypoints, list(found))["AP"]
            for name, guided in bounding.items()
        },
    }


def _open_partial(
    results_path: str | os.PathLike | None, estimator: PoseEstimator, records: Records, split: str
) -> Progress | None:
    """The file of what is done so far; None where nothing is written, or the model is no file."""
    name = Path(estimator.runner.name)
    model = checksum(name) if name.suffix or (name / "saved_model.pb").is_file() else None
    if results_path is None or model is None:
        return None
    what = {
        "model": model,
        "annotations": checksum(records.annotation_file),
        "split": split,
        "keypoints": estimator.keypoints.to_dict(),
        "protocol": estimator.describe(),
        "settings": dataclasses.asdict(estimator.settings),
    }
    return Progress(f"{os.fspath(results_path)}.part", what)


def _estimate(
    records: Sequence[Record],
    category_id: Any,
    estimator: PoseEstimator,
    batch_size: int,
    seconds: dict[str, float],
    skipped: dict[str, str],
    bounding: dict[str, list],
    advance: Callable[[], Any],
) -> Iterator[tuple[Any, list[dict[str, Any]]]]:
    """Image id and COCO results of every readable picture, in order; the network runs in the calling thread.

    ``bounding``, by `BOUNDS`' names, gets the results that the truth in place of heat-maps or tags would give.
    """

    def found(picture: _Picture, output) -> list[dict[str, Any]]:
        return estimator.decode(output, picture.prepared).to_coco(picture.record.image_id, category_id)

    def decode(batch: Sequence[_Picture], outputs: list) -> tuple[list[tuple[Any, list]], float]:
        start = time.perf_counter()
        results = [(p.record.image_id, found(p, output)) for p, output in zip(batch, outputs, strict=True)]
        spent = time.perf_counter() - start
        for name, guided in bounding.items():
            for p, output in zip(batch, outputs, strict=True):
                guided += found(p, BOUNDS[name](p.record, p.prepared, output))
        return results, spent

    def finish(future: Future) -> list[tuple[Any, list]]:
        results, spent = future.result()
        seconds["decode"] += spent
        return results

    decoding: deque[Future] = deque()
    batch: list[_Picture] = []
    with ThreadPoolExecutor(1) as pool:
        pictures = _read_ahead(records, estimator, batch_size, seconds, skipped)
        for number, picture in enumerate(pictures, start=1):
            if picture is not None:
                batch.append(picture)
            if batch and (len(batch) == batch_size or number == len(records)):
                start = time.perf_counter()
                outputs = estimator.run([picture.prepared for picture in batch])
                seconds["network"] += time.perf_counter() - start
                decoding.append(pool.submit(decode, batch, outputs))
                batch = []
            while len(decoding) > _WAITING:
                yield from finish(decoding.popleft())
            advance()
        for future in decoding:
            yield from finish(future)


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
        image = decode_image(record.read(), record.path)
        middle = time.perf_counter()
        prepared = estimator.prepare(image)
        return _Picture(record, prepared), middle - start, time.perf_counter() - middle

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
