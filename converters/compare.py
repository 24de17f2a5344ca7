"""Whether an exported file computes what the model does that it was made of: its maps, and the people in them."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from typing import Any, Callable

import numpy as np

from ehrnet_tf.decoding import DecoderSettings, decode_live
from ehrnet_tf.errors import EhrnetError
from ehrnet_tf.runtime.metadata import STRIDES, decoder_settings
from ehrnet_tf.runtime.runner import OUTPUTS, Runner

CERTAIN = 0.3  # people of at least this score must be found again
_SLACK = 0.01  # of the score of people who are too many
_NEAR = 8.0  # pixels that a person's keypoints may be away on average
_HEAT = 0.1  # the decoder's threshold: where tags count

Decode = Callable[[np.ndarray, "Mapping[str, np.ndarray]"], "tuple[np.ndarray, np.ndarray]"]


@dataclasses.dataclass(frozen=True)
class Bound:
    """How far a file may stray from its source; beyond, the conversion has gone wrong and no file is written.

    Attributes:
      worst: the largest difference of a map, in units of the range of the source's values.
      error: the root of the mean square difference of a map, in units of the standard deviation of the source's values:
        1 if nothing is left of the map.
      lost: the share of people that are not found again.
      farthest: of keypoints found again, input pixels.
      score: the largest difference of a person's score. Where nobody may be lost, nobody may be added either.
    """

    worst: float
    error: float
    lost: float
    farthest: float
    score: float = float("inf")


# Maps of a trained network's files stray by a fifth of these or less (docs/formats.md). Where tags hardly part people
# yet, or in the crowds that an untrained network finds, the least rounding groups them otherwise: half of them may go.
_EXACT = Bound(worst=1e-3, error=1e-3, lost=0.0, farthest=1.0, score=0.01)
_HALF = Bound(worst=0.2, error=0.1, lost=0.5, farthest=float("inf"))
_INTEGER = Bound(worst=float("inf"), error=0.5, lost=0.5, farthest=float("inf"))
BOUNDS = {
    "float32": _EXACT,
    "float16": _HALF,
    "bfloat16": _HALF,
    "int16x8": _HALF,
    "dynamic": _INTEGER,
    "int8": _INTEGER,
}


@dataclasses.dataclass(frozen=True)
class PoseComparison:
    """How far a file's people stray from its source's, through the same decoder.

    Attributes:
      pictures: compared.
      people: that the source finds with a score of at least 0.3.
      lost: of these, how many the file does not find (no person whose keypoints lie within 8 pixels on average).
      median, worst: distance of the keypoints of those found again, input pixels; 0 if there are none.
      added: people whom the file finds with such a score, and the source does not.
      score: the largest difference of scores of people found again.
    """

    pictures: int
    people: int
    lost: int
    median: float
    worst: float
    added: int = 0
    score: float = 0.0

    def to_dict(self) -> dict[str, float]:
        """The figures as plain values."""
        return dataclasses.asdict(self)

    def check(self, path: str | os.PathLike, bound: Bound = _EXACT) -> None:
        """Raises EhrnetError if a file strays farther from its source than it may."""
        exact = not bound.lost
        if (
            self.lost > self.people * bound.lost
            or self.worst > bound.farthest
            or (exact and (self.added or self.score > bound.score))
        ):
            raise EhrnetError(
                f"{path}: finds other people than the model: {self.lost} of {self.people} lost, keypoints up to "
                f"{self.worst:.1f} pixels away, {self.added} added, scores up to {self.score:.2g} away; the conversion "
                "went wrong"
            )


def compare(
    source: Runner, exported: Runner, pictures: Sequence[np.ndarray], precision: str, path: str | os.PathLike
) -> dict[str, Any]:
    """Compares a file with what it was made of, and refuses it beyond the precision's `BOUNDS`.

    People are compared through the live decoder; those of a file with the decoder inside with the same decoder's.

    Args:
      source: the model.
      exported: the file.
      pictures: (H, W, 3) uint8 network inputs.
      precision: of the file.
      path: what error messages call the file.

    Returns:
      "pictures" compared, "poses" (see `PoseComparison`), and of the graph "maps" also "differences": by output {"max",
      "mean", "range", "error"}: the largest and the mean absolute difference and the range of the source's values, in
      the maps' units, and the error as in `Bound`; for "tags" also "mean_where_heat" and "max_where_heat": where the
      source's heat exceeds 0.1, in units of the decoder's tag threshold (None if nowhere); and "difference": the
      largest of all maps, in units of their range.

    Raises:
      EhrnetError: the file strays from its source; one of them gives NaN or infinity.
    """
    settings = decoder_settings(source.metadata, source.name)
    maps, poses = _Maps(settings.tag_threshold), _Poses(_decoder(source, exported, settings))
    for picture in pictures:
        image = picture[None]
        expected, found = source(image), exported(image)
        for outputs, name in ((expected, source.name), (found, path)):
            if not all(np.isfinite(values).all() for values in outputs.values()):
                raise EhrnetError(f"{name}: gives NaN or infinity; has the model diverged, or is a number too large?")
        if exported.graph == "maps":
            maps.add(expected, found)
        poses.add(image, expected, found)
    report: dict[str, Any] = {"pictures": len(pictures)}
    if exported.graph == "maps":
        report["differences"] = maps.differences(len(pictures))
        report["difference"] = check_maps(report["differences"], path, BOUNDS[precision])
    comparison = poses.comparison(len(pictures))
    comparison.check(path, BOUNDS[precision])
    return {**report, "poses": comparison.to_dict()}


def compare_poses(source: Runner, exported: Runner, pictures: Sequence[np.ndarray]) -> PoseComparison:
    """The part of `compare` that concerns people, without a verdict."""
    poses = _Poses(_decoder(source, exported, decoder_settings(source.metadata, source.name)))
    for picture in pictures:
        image = picture[None]
        poses.add(image, source(image), exported(image))
    return poses.comparison(len(pictures))


class _Maps:
    """Differences of maps, summed up over pictures."""

    def __init__(self, tag_threshold: float):
        self._threshold = tag_threshold
        self._worst, self._total = dict.fromkeys(OUTPUTS, 0.0), dict.fromkeys(OUTPUTS, 0.0)
        self._least, self._most = dict.fromkeys(OUTPUTS, np.inf), dict.fromkeys(OUTPUTS, -np.inf)
        self._moments = {name: np.zeros(3) for name in OUTPUTS}  # mean square difference; mean, mean square of values
        self._hot = [np.zeros(0, np.float32)]

    def add(self, expected: Mapping[str, np.ndarray], found: Mapping[str, np.ndarray]) -> None:
        for name in OUTPUTS:
            difference = np.abs(found[name] - expected[name])
            self._worst[name] = float(np.maximum(self._worst[name], difference.max()))  # NaN stays
            self._total[name] += float(difference.mean())
            values = expected[name].astype(np.float64)
            self._moments[name] += np.square(difference).mean(dtype=np.float64), values.mean(), np.square(values).mean()
            self._least[name] = min(self._least[name], float(expected[name].min()))
            self._most[name] = max(self._most[name], float(expected[name].max()))
            if name == "tags":
                self._hot.append(difference[expected["heatmaps_4"] > _HEAT] / self._threshold)

    def differences(self, pictures: int) -> dict[str, dict[str, Any]]:
        result: dict[str, dict[str, Any]] = {
            name: {
                "max": self._worst[name],
                "mean": self._total[name] / pictures,
                "range": self._most[name] - self._least[name],
                "error": self._error(name, pictures),
            }
            for name in OUTPUTS
        }
        hot = np.concatenate(self._hot)
        for kind in ("mean", "max"):
            result["tags"][f"{kind}_where_heat"] = float(getattr(hot, kind)()) if len(hot) else None
        return result

    def _error(self, name: str, pictures: int) -> float:
        noise, mean, square = self._moments[name] / pictures
        return float(np.sqrt(noise / max(square - mean * mean, np.finfo(np.float32).tiny)))


def check_maps(differences: Mapping[str, Mapping[str, Any]], path: str | os.PathLike, bound: Bound) -> float:
    """The largest difference of all maps, in units of their range.

    Raises:
      EhrnetError: maps stray farther from the source's than they may.
    """
    worst = {n: found["max"] / max(found["range"], np.finfo(np.float32).tiny) for n, found in differences.items()}
    error = max(found["error"] for found in differences.values())
    name = max(worst, key=lambda n: (np.isnan(worst[n]), worst[n]))
    if not (worst[name] <= bound.worst and error <= bound.error):
        raise EhrnetError(
            f"{path}: gives other maps than the model, up to {worst[name]:.3g} of their range away ({name}), error "
            f"{error:.2g}; the conversion went wrong"
        )
    return worst[name]


class _Poses:
    """Distances of people, collected over pictures."""

    def __init__(self, decode: Decode):
        self._decode = decode
        self._people = self._lost = self._added = 0
        self._distances, self._score = [np.zeros(0)], 0.0

    def add(self, image: np.ndarray, expected: Mapping[str, np.ndarray], found: Mapping[str, np.ndarray]) -> None:
        (keypoints, scores), (candidates, given) = self._find(image, expected), self._find(image, found)
        for person, score in zip(keypoints, scores):
            if score < CERTAIN:
                continue
            self._people += 1
            nearest = _nearest(person, candidates)
            if nearest is None:
                self._lost += 1
            else:
                self._distances.append(nearest[1])
                self._score = max(self._score, abs(float(given[nearest[0]] - score)))
        for person, score in zip(candidates, given):
            self._added += score >= CERTAIN + _SLACK and _nearest(person, keypoints) is None

    def comparison(self, pictures: int) -> PoseComparison:
        away = np.concatenate(self._distances)
        median, worst = (float(np.median(away)), float(away.max())) if len(away) else (0.0, 0.0)
        return PoseComparison(pictures, self._people, self._lost, median, worst, int(self._added), self._score)

    def _find(self, image: np.ndarray, outputs: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        if "keypoints" not in outputs:
            return self._decode(image, outputs)
        found = outputs["scores"][0] > 0
        return outputs["keypoints"][0][found], outputs["scores"][0][found]


def _nearest(person: np.ndarray, candidates: np.ndarray) -> tuple[int, np.ndarray] | None:
    """The nearest of (N, K, 3) to a person (K, 3) and how far its joints are away; None if nobody is near."""
    if not len(candidates):
        return None
    shared = (person[:, 2] > 0) & (candidates[:, :, 2] > 0)
    away = np.linalg.norm(candidates[:, :, :2] - person[:, :2], axis=2)
    mean = np.where(shared.any(axis=1), (away * shared).sum(axis=1) / np.maximum(shared.sum(axis=1), 1), np.inf)
    nearest = mean.argmin()
    return (int(nearest), away[nearest][shared[nearest]]) if mean[nearest] <= _NEAR else None


def _decoder(source: Runner, exported: Runner, settings: DecoderSettings) -> Decode:
    """(image, maps by name) to people (N, K, 3), x, y in input pixels, score, and scores (N,)."""
    if exported.graph == "poses" and source.graph == "maps":
        return _graph_decoder(source, exported.metadata["people"])

    def decode(image, maps):
        people, scores = decode_live(maps["heatmaps_2"][0], maps["tags"][0], settings, source.keypoints.grouping)
        return people[:, :, :3] * (STRIDES["heatmaps_2"], STRIDES["heatmaps_2"], 1), scores

    return decode


def _graph_decoder(source: Runner, people: int) -> Decode:
    import tensorflow as tf

    from ehrnet_tf.converters.serving import decoder_function

    function = tf.function(decoder_function(source, people))

    def decode(image, maps):
        found = function(*(tf.constant(values) for values in (image, maps["heatmaps_2"], maps["tags"])))
        return found["keypoints"].numpy()[0], found["scores"].numpy()[0]

    return decode
