"""Poses in files: a JSON line a picture, CSV, COCO results; written as they come, read back as `Poses`.

The format is told by the suffix: ``.jsonl`` (or ``.ndjson``), ``.csv``, ``.json``; the schema stands in docs/files.md.
Whatever ends the writing, the file holds what was written until then.
"""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import json
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from ehrnet_tf import keypoints as keypoint_sets
from ehrnet_tf.errors import DataError, UsageError
from ehrnet_tf.keypoints import KeypointSet
from ehrnet_tf.poses import NO_ID, Poses

FORMATS = {".jsonl": "lines", ".ndjson": "lines", ".csv": "csv", ".json": "list"}
_FIXED = ("frame", "seconds", "file", "width", "height", "id", "score")  # columns before the keypoints'


@dataclasses.dataclass(frozen=True)
class Entry:
    """The people of one picture.

    Attributes:
      poses: they.
      frame: the picture's number in its source, from 0.
      seconds: when it is shown, of a video; when it came, of a camera; None of a picture file.
      file: the path of the picture or video; None of a camera.
    """

    poses: Poses
    frame: int
    seconds: float | None = None
    file: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON: "frame", "seconds" and "file" where known, and `Poses.to_dict`."""
        head: dict[str, Any] = {"frame": self.frame}
        if self.seconds is not None:
            head["seconds"] = round(self.seconds, 4)
        if self.file is not None:
            head["file"] = self.file
        return {**head, **self.poses.to_dict()}


def check_format(path: str | os.PathLike) -> str:
    """The format of a file by its suffix.

    Raises:
      UsageError: none of `FORMATS`.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in FORMATS:
        raise UsageError(f"{path}: poses are written as .json, .jsonl (a line a picture) or .csv")
    return FORMATS[suffix]


class PoseWriter:
    """Writes poses as they come, with constant memory; a context manager that finishes the file whatever happens.

    Args:
      path: .json: a list; .jsonl: a line a picture; .csv: a row a person.
      coco: COCO's results format, a list of people; only .json.

    Raises:
      UsageError: another suffix.
      OSError: the file cannot be written.
    """

    def __init__(self, path: str | os.PathLike, coco: bool = False):
        self.path = Path(path)
        self._format = "coco" if coco else check_format(path)
        if coco and self.path.suffix.lower() != ".json":
            raise UsageError(f"{path}: COCO results are a .json file")
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._file: TextIO = open(self.path, "w", encoding="utf-8", newline="")  # noqa: SIM115 (closed by __exit__)
        self._rows: Any = None
        self._empty = True
        if self._format in ("list", "coco"):
            self._file.write("[")

    def write(self, entry: Entry) -> None:
        """Adds a picture's people.

        Raises:
          OSError: it cannot be written; the error names the file.
        """
        with self._named():
            if self._format == "lines":
                self._file.write(json.dumps(entry.to_dict()) + "\n")
                self._file.flush()
            elif self._format == "csv":
                self._write_rows(entry)
                self._file.flush()
            elif self._format == "list":
                self._add(entry.to_dict())
            else:
                for person in _coco(entry):
                    self._add(person)

    def __enter__(self) -> PoseWriter:
        return self

    def __exit__(self, *_: Any) -> None:
        with self._named():
            try:
                if self._format in ("list", "coco"):
                    self._file.write("]\n" if self._empty else "\n]\n")
            finally:
                self._file.close()

    def _add(self, value: Any) -> None:
        self._file.write(("\n" if self._empty else ",\n") + json.dumps(value))
        self._empty = False

    def _write_rows(self, entry: Entry) -> None:
        names = entry.poses.keypoint_set.names
        if self._rows is None:
            self._rows = csv.writer(self._file, lineterminator="\n")
            self._rows.writerow([*_FIXED, *(f"{name}_{part}" for name in names for part in ("x", "y", "score"))])
        height, width = entry.poses.image_size
        seconds = "" if entry.seconds is None else round(entry.seconds, 4)
        head = [entry.frame, seconds, entry.file or "", width, height]
        for person in entry.poses.to_dict()["people"]:
            joints = [number for joint in person["keypoints"].values() for number in joint]
            self._rows.writerow([*head, person.get("id", ""), person["score"], *joints])

    @contextlib.contextmanager
    def _named(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(self.path)) from error


def _coco(entry: Entry) -> list[dict[str, Any]]:
    """People in COCO's results format; the picture's id is the number in its file's name, else the frame's."""
    stem = Path(entry.file).stem if entry.file else ""
    image_id = int(stem) if re.fullmatch(r"\d{1,18}", stem) else entry.frame
    named = {"file_name": Path(entry.file).name} if entry.file else {"seconds": entry.seconds}
    return [{**person, **named} for person in entry.poses.to_coco(image_id)]


def read_poses(path: str | os.PathLike, keypoints: str | os.PathLike | KeypointSet | None = None) -> Iterator[Entry]:
    """The pictures of a file that `PoseWriter` wrote, in its order; COCO results are no such file.

    Args:
      path: .json, .jsonl or .csv.
      keypoints: the keypoint set, for one that is not built in: a file has only names, neither limbs nor colours.

    Yields:
      Entries. A .csv has none for a picture without people.

    Raises:
      DataError: it is damaged, or no such file; the error names the line.
      UsageError: another suffix, or a keypoint set with other names.
    """
    kind = check_format(path)
    given = None if keypoints is None else keypoint_sets.load(keypoints)
    with open(path, encoding="utf-8", newline="") as file:
        if kind == "csv":
            yield from _read_rows(file, path, given)
            return
        for place, value in _values(file, kind, path):
            yield _entry(value, f"{path}: {place}", given)


def _values(file: TextIO, kind: str, path: Any) -> Iterator[tuple[str, Any]]:
    if kind == "lines":
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                yield f"line {number}", json.loads(line)
            except ValueError as error:
                raise DataError(f"{path}: line {number} is no JSON ({error}); was the file cut off?") from error
        return
    try:
        values = json.load(file)
    except ValueError as error:
        raise DataError(f"{path}: no JSON ({error}); was the file cut off?") from error
    if not isinstance(values, list):
        raise DataError(f"{path}: holds no list of pictures; give what `ehrnet predict --json` wrote")
    if values and isinstance(values[0], dict) and "image_id" in values[0]:
        raise DataError(
            f"{path}: COCO results; draw from the .json, .jsonl or .csv that `ehrnet predict --json` writes"
        )
    for number, value in enumerate(values):
        yield f"entry {number}", value


def _entry(value: Any, place: str, given: KeypointSet | None) -> Entry:
    damaged = DataError(f"{place}: no poses as `ehrnet predict` writes them")
    try:
        people = value["people"]
        names = list(people[0]["keypoints"]) if people else None
        set_name = value.get("keypoint_set")
    except (KeyError, TypeError, AttributeError) as error:
        raise damaged from error
    points = _keypoint_set(set_name, names, place, given)
    try:
        keypoints = np.array(
            [[person["keypoints"][name] for name in points.names] for person in people], np.float32
        ).reshape(len(people), len(points), 3)
        ids = [person.get("id") for person in people]
        poses = Poses(
            keypoints,
            np.array([person["score"] for person in people], np.float32),
            points,
            tuple(value["image_size"]),
            None if set(ids) <= {None} else np.array([NO_ID if i is None else i for i in ids], np.int64),
        )
        return Entry(poses, int(value.get("frame", 0)), value.get("seconds"), value.get("file"))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise damaged from error


def _keypoint_set(name: str | None, names: list[str] | None, place: str, given: KeypointSet | None) -> KeypointSet:
    """The set of these names: the one given, else the built-in one, else one without limbs."""
    points = given
    if points is None:
        with contextlib.suppress(UsageError):
            points = keypoint_sets.load(name) if name else None
    if names is None:
        return points or keypoint_sets.load("coco")
    if points is not None and sorted(points.names) == sorted(names):
        return points
    if given is not None:
        raise UsageError(f"{place}: has the keypoints {', '.join(names)}, not those of '{given.name}'")
    return KeypointSet.from_dict({"name": name or "unknown", "keypoints": names}, place)


def _read_rows(file: TextIO, path: Any, given: KeypointSet | None) -> Iterator[Entry]:
    rows = csv.DictReader(file)
    header = rows.fieldnames or []
    names = [column[: -len("_score")] for column in header if column.endswith("_score")]
    if list(header[: len(_FIXED)]) != list(_FIXED) or not names:
        raise DataError(f"{path}: no table of poses as `ehrnet predict` writes it (columns {', '.join(_FIXED)}, ...)")
    points = given or _named_set(names)
    people: list[dict[str, Any]] = []
    for row in rows:
        if people and (row["frame"], row["file"]) != (people[0]["frame"], people[0]["file"]):
            yield _row_entry(people, names, points, f"{path}: line {rows.line_num - 1}")
            people = []
        people.append(row)
    if people:
        yield _row_entry(people, names, points, f"{path}: line {rows.line_num}")


def _named_set(names: list[str]) -> KeypointSet:
    """The built-in set of these names, else one without limbs."""
    for name in keypoint_sets.builtin():
        points = keypoint_sets.load(name)
        if list(points.names) == names:
            return points
    return KeypointSet.from_dict({"name": "unknown", "keypoints": names})


def _row_entry(rows: list[Mapping[str, Any]], names: list[str], points: KeypointSet, place: str) -> Entry:
    first = rows[0]
    try:
        people = []
        for row in rows:
            joints = {name: [float(row[f"{name}_{part}"]) for part in ("x", "y", "score")] for name in names}
            person = {"score": float(row["score"]), "keypoints": joints}
            people.append({**person, "id": int(row["id"])} if row["id"] else person)
        value = {
            "frame": int(first["frame"]),
            "seconds": float(first["seconds"]) if first["seconds"] else None,
            "file": first["file"] or None,
            "image_size": [int(first["height"]), int(first["width"])],
            "people": people,
        }
    except (TypeError, ValueError) as error:
        raise DataError(f"{place}: a row that cannot be read ({error}); was the file cut off?") from error
    return _entry(value, place, points)
