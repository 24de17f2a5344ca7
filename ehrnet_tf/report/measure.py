"""Accuracy and speed of the files that a report shows; what has been scored once is kept with the run."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ehrnet_tf import __version__
from ehrnet_tf.data.coco import Records
from ehrnet_tf.errors import DataError, UsageError
from ehrnet_tf.files import write_json
from ehrnet_tf.keypoints import KeypointSet
from ehrnet_tf.runtime.metadata import read_metadata

FOLDER = "evaluations"  # in a run folder
_TIMED = 16  # pictures that take turns


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """A file's score.

    Attributes:
      path: the file.
      figures: what `evaluation.evaluate` gave, with details.
      results: COCO results.
    """

    path: Path
    figures: dict[str, Any]
    results: list[dict[str, Any]]


def keypoints_of(path: Path) -> KeypointSet:
    """The keypoint set of a model file.

    Raises:
      UsageError: a classifier, or a file that does not say its keypoints.
      ModelFileError: the file cannot be run.
    """
    metadata = read_metadata(path) or {}
    if metadata.get("task") == "classification":
        raise UsageError(f"{path}: is a classifier, which finds no people; leave out --data, or give a pose model")
    if metadata.get("keypoints"):
        return KeypointSet.from_dict(metadata["keypoints"], f"{path}: keypoints in its metadata")
    from ehrnet_tf.runtime.runners import open_runner

    return open_runner(path).keypoints


def score(
    path: Path,
    data: Path,
    split: str,
    records: Records,
    threads: int | None = None,
    store: Path | None = None,
    progress: bool = True,
) -> Evaluation:
    """Scores a file, or takes what an earlier call stored of the same file, pictures and protocol.

    Args:
      path: the file.
      data, split: where the pictures are.
      records: the pictures.
      threads: see `PoseEstimator`.
      store: the folder where COCO results and figures are kept, as NAME-CHECKSUM-SPLIT.json and .figures.json; None:
        nowhere.
      progress: whether to show a bar.

    Raises:
      UsageError: the file has other keypoints than the pictures.
      DataError, ModelFileError: as `evaluation.evaluate`.
    """
    from ehrnet_tf.evaluation import evaluate
    from ehrnet_tf.evaluation.progress import checksum

    own = keypoints_of(path)
    if own != records.keypoints:
        raise UsageError(f"{path}: has the keypoint set '{own.name}', the others '{records.keypoints.name}'")
    key = {"model": checksum(path), "annotations": checksum(records.annotation_file), "split": split}
    key |= {"pictures": len(records), "threads": threads, "version": __version__}
    with _folder(store) as folder:
        stem = f"{path.stem}-{key['model']:08x}-{split}"
        results_path, figures_path = folder / f"{stem}.json", folder / f"{stem}.figures.json"
        stored = _stored(figures_path, results_path, key)
        if stored is None:
            figures = evaluate(
                path,
                data,
                split,
                records=records,
                threads=threads,
                details=True,
                results_path=results_path,
                progress=progress,
            )
            results = json.loads(results_path.read_text(encoding="utf-8"))
            write_json(figures_path, {"of": key, "results": checksum(results_path), "figures": figures})
            stored = figures, results
    return Evaluation(path, *stored)


@contextlib.contextmanager
def _folder(store: Path | None) -> Iterator[Path]:
    if store is not None:
        yield store
        return
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


def _stored(figures: Path, results: Path, key: dict[str, Any]) -> tuple[dict[str, Any], list] | None:
    """Figures and results of an earlier evaluation; None if there is none, or not of the same."""
    from ehrnet_tf.evaluation.progress import checksum

    try:
        content = json.loads(figures.read_text(encoding="utf-8"))
        if content["of"] != key or content["results"] != checksum(results):
            return None
        return content["figures"], json.loads(results.read_text(encoding="utf-8"))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def time_files(
    paths: Sequence[Path], records: Records | None, threads: int | None, rounds: int, progress: bool = True
) -> dict[str, Any]:
    """`benchmark.run.benchmark` of the files, on the first pictures of the data or a made-up one.

    Args:
      paths: the files.
      records: the data's pictures, of which 16 take turns; None: a made-up one.
      threads: see `PoseEstimator`.
      rounds: timed rounds of each.
      progress: whether to show a bar.

    Raises:
      EhrnetError: as `benchmark`.
    """
    from ehrnet_tf.benchmark.run import benchmark
    from ehrnet_tf.benchmark.stages import Options

    with tempfile.TemporaryDirectory() as folder:
        pictures = _copy_pictures(records, Path(folder)) if records is not None else 0
        options = Options(threads=threads, picture=folder if pictures else None)
        timed = benchmark([os.fspath(path) for path in paths], options, rounds, progress=progress)
    return {**timed, "pictures": pictures}


def _copy_pictures(records: Records, folder: Path) -> int:
    """Writes the first readable pictures of a data set, which may lie in shards, into a folder; gives their number."""
    from ehrnet_tf.images import decode_image

    written = 0
    for record in records:
        try:
            content = record.read()
            decode_image(content, record.path)
        except DataError:
            continue
        (folder / f"{written:02}{Path(record.path).suffix or '.jpg'}").write_bytes(content)
        written += 1
        if written == _TIMED:
            break
    return written
