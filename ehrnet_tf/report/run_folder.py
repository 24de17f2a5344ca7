"""What a run folder holds, whichever command made it and however far it came."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from ehrnet_tf.config import Config, PretrainConfig, load_config
from ehrnet_tf.errors import EhrnetError, ModelFileError, UsageError
from ehrnet_tf.runtime.metadata import read_metadata
from ehrnet_tf.runtime.runners import ACCEPTED, kind_of

TRAINING, QUANTISATION, PRETRAINING, FILE = "training", "quantisation", "pretraining", "model file"
_TRAINED, _INTEGERS = "best.keras", "int8.tflite"
_OF_TRAINING = (_TRAINED, "last.keras")
_OF_QUANTISATION = (_INTEGERS, "float.keras", "last.npz")
_TRACES = ("config.yaml", "log.csv", *_OF_TRAINING, *_OF_QUANTISATION)


@dataclasses.dataclass(frozen=True)
class Run:
    """A run, or a model file by itself.

    Attributes:
      path: the folder, or the file.
      kind: TRAINING, QUANTISATION, PRETRAINING or FILE.
      files: the model that the run made first, then what it was made of; empty where there is none yet.
      config: section → key → value; empty where there is none.
      changed: "section.key" of the values that are not the defaults.
      log: the lines of log.csv, see `training.logs.read_log`.
      curves: title → columns of the log that belong together.
      description: run.json; empty where there is none.
      metadata: of the first file; empty where it has none.
      notes: sentences: what is missing or damaged, and what that means for a report.
    """

    path: Path
    kind: str
    files: tuple[Path, ...]
    config: Mapping[str, Mapping[str, Any]]
    changed: frozenset[str]
    log: list[dict[str, float]]
    curves: Mapping[str, list[str]]
    description: Mapping[str, Any]
    metadata: Mapping[str, Any]
    notes: tuple[str, ...]

    @property
    def epochs(self) -> tuple[int, int | None]:
        """How many epochs are done, and how many were planned (None: unknown)."""
        planned = self.config.get("quantize" if self.kind == QUANTISATION else "train", {}).get("epochs")
        return (int(self.log[-1]["epoch"]) + 1 if self.log else 0), planned

    @property
    def best_epoch(self) -> dict[str, float] | None:
        """The line of the log with the highest AP; None where no epoch was validated by AP."""
        validated = [row for row in self.log if math.isfinite(row.get("AP", math.nan))]
        return max(validated, key=lambda row: row["AP"], default=None)


def read_run(path: Path) -> Run:
    """Reads a run folder, or a model file in the place of one; loads Keras, but no model.

    What is missing or damaged is left out and said in ``notes``.

    Raises:
      UsageError: no such folder, or one that holds nothing of a run.
      ModelFileError: a file of a kind that is not accepted.
    """
    if not path.exists():
        raise UsageError(f"{path}: no such folder; give that of `ehrnet train` or `ehrnet quantize`, or a model file")
    if path.is_file() or (path / "saved_model.pb").is_file():
        kind_of(path)
        notes: list[str] = []
        return Run(path, FILE, (path,), {}, frozenset(), [], {}, {}, _metadata(path, notes), tuple(notes))
    if not any((path / name).is_file() for name in _TRACES):
        raise UsageError(
            f"{path}: holds no run; give the folder of `ehrnet train` or `ehrnet quantize`, or one of {ACCEPTED}"
        )
    notes = []
    config, changed, classifier = _read_config(path / "config.yaml", notes)
    description = _read_description(path / "run.json", notes)
    kind = PRETRAINING if classifier else _kind(path, description)
    files = _files(path, kind, notes)
    metadata = _metadata(files[0], notes) if files else {}
    if kind == QUANTISATION and files:
        files += _source(path, metadata)
    log, curves = _read_log(path / "log.csv", kind, notes)
    return Run(path, kind, files, config, changed, log, curves, description, metadata, tuple(notes))


def _kind(path: Path, description: Mapping[str, Any]) -> str:
    if any((path / name).is_file() for name in _OF_TRAINING):
        return TRAINING
    begun = "pictures" in description.get("data", {})  # a training's has them by split
    return QUANTISATION if begun or any((path / name).is_file() for name in _OF_QUANTISATION) else TRAINING


def _files(path: Path, kind: str, notes: list[str]) -> tuple[Path, ...]:
    name = _INTEGERS if kind == QUANTISATION else _TRAINED
    if (path / name).is_file():
        return (path / name,)
    reason = "the run has not come to its end" if kind == QUANTISATION else "no epoch has been validated yet"
    notes.append(f"{name} is not there: {reason}, so there is no model to score or to time.")
    return ()


def _source(path: Path, metadata: Mapping[str, Any]) -> tuple[Path, ...]:
    """The trained model that integers were made of, where it is still at its place."""
    source = metadata.get("source")
    trained = Path(source) / _TRAINED if isinstance(source, str) else path / _TRAINED
    return (trained,) if trained.is_file() else ()


def _metadata(path: Path, notes: list[str]) -> dict[str, Any]:
    try:
        return read_metadata(path) or {}
    except ModelFileError as error:
        notes.append(f"{error}.")
        return {}


def _read_config(path: Path, notes: list[str]) -> tuple[dict[str, dict[str, Any]], frozenset[str], bool]:
    """The configuration, what of it is not the default, and whether it is a classifier's."""
    if not path.is_file():
        notes.append("config.yaml is not there: the configuration cannot be shown.")
        return {}, frozenset(), False
    reason = None
    for kind in (Config, PretrainConfig):
        try:
            config, default = load_config(path, kind=kind).to_dict(), kind().to_dict()
        except EhrnetError as error:
            reason = reason or error
            continue
        changed = (f"{part}.{key}" for part, keys in config.items() for key in keys if keys[key] != default[part][key])
        return config, frozenset(changed), kind is PretrainConfig
    notes.append(f"{reason}; the configuration is shown as it stands there.")
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        content = None
    sections = content.items() if isinstance(content, dict) else ()
    return {str(name): part for name, part in sections if isinstance(part, dict)}, frozenset(), False


def _read_description(path: Path, notes: list[str]) -> dict[str, Any]:
    if not path.is_file():
        notes.append("run.json is not there: command, versions and data of the training are not known.")
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(content, dict):
            raise ValueError("no object")
    except (OSError, ValueError) as error:
        notes.append(f"{path}: cannot be read as JSON ({error}); it is left out.")
        return {}
    return content


def _read_log(path: Path, kind: str, notes: list[str]) -> tuple[list[dict[str, float]], dict[str, list[str]]]:
    from ehrnet_tf.training.logs import POSE_CURVES, read_log
    from ehrnet_tf.training.pretrain import CURVES

    curves = CURVES if kind == PRETRAINING else POSE_CURVES
    try:
        rows = read_log(path)
        if any(not isinstance(key, str) or "epoch" not in row for row in rows for key in row):
            raise ValueError("lines of different lengths, or no column 'epoch'")
    except (OSError, ValueError, TypeError) as error:
        notes.append(f"{path}: cannot be read as a log ({error}); the curves are left out.")
        return [], curves
    if not rows:
        notes.append("log.csv holds nothing: no epoch has ended, so there are no curves.")
    return rows, curves
