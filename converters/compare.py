"""Whether an exported file finds the same people as the model that it was made of."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from ehrnet_tf.converters.serving import decoder_function
from ehrnet_tf.errors import EhrnetError
from ehrnet_tf.runtime.runners import OUTPUTS, KerasRunner, Runner

_CERTAIN = 0.3  # people of at least this score must be found again
_STRAY = 1e-3  # of their range that a float32 file's maps may be away
_FARTHEST = 1.0  # pixels that a float32 file's keypoints may be away


def random_pictures(size: tuple[int, int], count: int = 4) -> list[np.ndarray]:
    """Network inputs (height, width, 3) uint8 to compare with where there are no others."""
    return list(np.random.default_rng(0).integers(0, 256, (count, *size, 3), dtype=np.uint8))


@dataclasses.dataclass(frozen=True)
class PoseComparison:
    """How far a file's people stray from the model's, through the same decoder.

    Attributes:
      pictures: compared.
      people: that the model finds with a score of at least 0.3.
      lost: of these, how many the file does not find (no person whose keypoints lie within 8 pixels on average).
      median, worst: distance of the keypoints of those found again, input pixels; 0 if there are none.
    """

    pictures: int
    people: int
    lost: int
    median: float
    worst: float

    def to_dict(self) -> dict[str, float]:
        """The figures as plain values."""
        return dataclasses.asdict(self)

    def check(self, path: str | os.PathLike) -> None:
        """Raises EhrnetError if a file that computes as exactly as the model strays from it."""
        if self.lost or self.worst > _FARTHEST:
            raise EhrnetError(
                f"{path}: finds other people than the model: {self.lost} of {self.people} lost, keypoints up to "
                f"{self.worst:.1f} pixels away; the conversion went wrong"
            )


def compare(source: KerasRunner, exported: Runner, path: str | os.PathLike) -> dict[str, Any]:
    """Compares a float32 file with the model that it was made of, on random pictures.

    Args:
      source: the model.
      exported: the file.
      path: what error messages call the file.

    Returns:
      "difference": the largest of the maps, in units of their range; of the graph "poses" instead "poses": see
      `PoseComparison`.

    Raises:
      EhrnetError: the file strays from the model.
    """
    pictures = random_pictures(exported.input_size or tuple(source.metadata["input"].get("nominal") or (64, 64)))
    if exported.graph == "poses":
        poses = compare_poses(source, exported, pictures)
        poses.check(path)
        return {"poses": poses.to_dict()}
    found, expected = (runner(np.stack(pictures)) for runner in (exported, source))
    difference = max(float(np.abs(found[n] - expected[n]).max() / np.ptp(expected[n])) for n in OUTPUTS)
    if not difference <= _STRAY:
        raise EhrnetError(f"{path}: gives other maps than the model, up to {difference:.3g} of their range away")
    return {"difference": difference}


def compare_poses(source: KerasRunner, exported: Runner, pictures: Sequence[np.ndarray]) -> PoseComparison:
    """Compares a file of the graph "poses" with the model's maps through the same decoder.

    Args:
      source: the model.
      exported: the file.
      pictures: (H, W, 3) uint8 network inputs.
    """
    import tensorflow as tf

    people, lost, distances = 0, 0, [np.zeros(0)]
    decode = None
    for picture in pictures:
        image, found = picture[None], exported(picture[None])
        if decode is None:
            decode = tf.function(decoder_function(source, found["scores"].shape[1]), reduce_retracing=True)
        maps = source(image)
        expected = decode(tf.constant(image), tf.constant(maps["heatmaps_2"]), tf.constant(maps["tags"]))
        keypoints, scores = expected["keypoints"].numpy()[0], expected["scores"].numpy()[0]
        candidates = found["keypoints"][0][found["scores"][0] > 0]
        for person in keypoints[scores >= _CERTAIN]:
            people += 1
            shared = (person[:, 2] > 0) & (candidates[:, :, 2] > 0)
            away = np.where(shared, np.linalg.norm(candidates[:, :, :2] - person[:, :2], axis=2), np.nan)
            with np.errstate(invalid="ignore"):
                mean = np.where(shared.any(axis=1), np.nansum(away, axis=1) / np.maximum(shared.sum(axis=1), 1), np.inf)
            if not len(mean) or mean.min() > 8:
                lost += 1
                continue
            nearest = away[mean.argmin()]
            distances.append(nearest[~np.isnan(nearest)])
    away = np.concatenate(distances)
    median, worst = (float(np.median(away)), float(away.max())) if len(away) else (0.0, 0.0)
    return PoseComparison(len(pictures), people, lost, median, worst)
