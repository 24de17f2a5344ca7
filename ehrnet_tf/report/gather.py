"""Everything that a report shows, measured or read, before any of it is drawn."""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ehrnet_tf.data.coco import read_records
from ehrnet_tf.errors import EhrnetError, UsageError
from ehrnet_tf.report import pictures
from ehrnet_tf.report.measure import FOLDER, Evaluation, keypoints_of, score, time_files
from ehrnet_tf.report.run_folder import FILE, PRETRAINING, Run, read_run
from ehrnet_tf.runtime.metadata import read_metadata
from ehrnet_tf.runtime.runners import kind_of, size_of

SPLIT = "val2017"


@dataclasses.dataclass(frozen=True)
class Options:
    """What to measure for a report.

    Attributes:
      data: folder in COCO's layout, or of shards; None: nothing is scored.
      split: of the data; None: the one that the run was validated on, with as many pictures as there.
      limit: only the first so many pictures; None: all.
      models: files beside those of the run.
      threads: see `PoseEstimator`.
      rounds: that speed is timed in; 0: it is not.
      pictures: how many best ones, and how many worst ones, are shown.
      progress: whether to show bars.
    """

    data: Path | None = None
    split: str | None = None
    limit: int | None = None
    models: tuple[Path, ...] = ()
    threads: int | None = None
    rounds: int = 30
    pictures: int = 6
    progress: bool = True

    def __post_init__(self):
        for name, least in (("limit", 1), ("threads", 1), ("rounds", 0), ("pictures", 0)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise UsageError(f"{name} {value}: must be at least {least}")
        if self.data is None and (self.split is not None or self.limit is not None):
            raise UsageError("a split or limit says which pictures of the data: give --data as well")


@dataclasses.dataclass(frozen=True)
class Report:
    """What a report shows.

    Attributes:
      run: what its folder holds.
      files: the run's files, then the further ones.
      names: a short name of each, all different.
      megabytes: of each, in 2^20 bytes.
      stored: of each, its metadata's "accuracy", or None.
      data, split: the pictures that were scored; None where none were.
      evaluations: of the files, in their order; empty where nothing was scored.
      speed: what `measure.time_files` gave; None where nothing was timed.
      best, worst: pictures of the first file.
      notes: sentences: what is missing, and how to get it.
    """

    run: Run
    files: tuple[Path, ...]
    names: tuple[str, ...]
    megabytes: tuple[float, ...]
    stored: tuple[dict[str, Any] | None, ...]
    data: Path | None
    split: str | None
    evaluations: tuple[Evaluation, ...]
    speed: dict[str, Any] | None
    best: list[pictures.Picture]
    worst: list[pictures.Picture]
    notes: tuple[str, ...]

    def figures(self) -> dict[str, Any]:
        """The numbers as plain values for JSON."""
        done, planned = self.run.epochs
        return {
            "run": str(self.run.path),
            "kind": self.run.kind,
            "epochs": {"done": done, "planned": planned},
            "data": None if self.data is None else str(self.data),
            "split": self.split,
            "files": [
                {"file": str(path), "megabytes": round(size, 2), "stored": stored}
                for path, size, stored in zip(self.files, self.megabytes, self.stored, strict=True)
            ],
            "accuracy": [{"file": str(e.path), **e.figures} for e in self.evaluations],
            "speed": self.speed,
            "notes": list(self.notes),
        }


def gather(path: Path, options: Options) -> Report:
    """Reads a run folder (or a model file), scores and times its files and the further ones.

    Raises:
      UsageError: no run; a file twice, or with other keypoints; a classifier with data.
      DataError, ModelFileError: data or a file that cannot be used.
    """
    run = read_run(path)
    for model in options.models:
        kind_of(model)
    files = tuple(dict.fromkeys((*run.files, *options.models)))
    if options.data is not None and run.kind == PRETRAINING:
        raise UsageError(f"{path}: is the run of a classifier, which finds no people; leave out --data")
    notes = list(run.notes)
    split, evaluations, records = None, [], None
    best: list[pictures.Picture] = []
    worst: list[pictures.Picture] = []
    if options.data is not None and files:
        split, limit = _pictures_to_score(run, options)
        records = read_records(options.data, split, keypoints_of(files[0]), limit=limit)
        store = path / FOLDER if run.kind != FILE and os.access(path, os.W_OK) else None
        for file in files:
            evaluations.append(score(file, options.data, split, records, options.threads, store, options.progress))
        best, worst = _pictures(evaluations[0], records, options.pictures)
        skipped = evaluations[0].figures["skipped"]
        if skipped:
            notes.append(f"Pictures of {split} that cannot be read, and do not count: {skipped}.")
    elif options.data is None:
        notes.append(
            "Nothing was scored for this page: no curves of precision, keypoints or pictures; give --data DIR."
        )
    speed = None
    if options.rounds and files and run.kind != PRETRAINING:
        try:
            speed = time_files(files, records, options.threads, options.rounds, options.progress)
        except EhrnetError as error:
            notes.append(f"Speed could not be measured: {error}.")
    elif files and run.kind != PRETRAINING:
        notes.append("Speed was not measured (--rounds 0).")
    return Report(
        run,
        files,
        names_of(files),
        tuple(size_of(file) / 2**20 for file in files),
        tuple(_stored_accuracy(file) for file in files),
        options.data if evaluations else None,
        split,
        tuple(evaluations),
        speed,
        best,
        worst,
        tuple(notes),
    )


def _pictures_to_score(run: Run, options: Options) -> tuple[str, int | None]:
    """The split and how many of its pictures: those asked for, else those that the run was validated on."""
    own = run.config.get("data", {})
    if options.split is not None:
        return options.split, options.limit
    return own.get("val_split") or SPLIT, options.limit or own.get("val_limit")


def _pictures(evaluation: Evaluation, records: Any, count: int) -> tuple[list, list]:
    if not count:
        return [], []
    from ehrnet_tf.evaluation import match_people

    ids = [record.image_id for record in records]
    people = match_people(records.annotation_file, evaluation.results, records.keypoints, ids)
    shown = people, evaluation.results, records, records.keypoints, count
    worst = pictures.worst(*shown)
    return pictures.best(*shown, without=worst), list(worst.values())


def _stored_accuracy(file: Path) -> dict[str, Any] | None:
    with contextlib.suppress(EhrnetError):
        accuracy = (read_metadata(file) or {}).get("accuracy")
        return accuracy if isinstance(accuracy, dict) else None
    return None


def names_of(files: Sequence[Path]) -> tuple[str, ...]:
    """The shortest ends of the paths by which all differ from each other."""
    for parts in range(1, max((len(file.parts) for file in files), default=0) + 1):
        names = tuple(str(Path(*file.parts[-parts:])) for file in files)
        if len(set(names)) == len(names):
            return names
    return tuple(map(str, files))
