"""COCO AP of every decoder, and of every sub-pixel fit, on the same maps.

The maps are a model's, or perfect ones (the training targets with every person's tag):

    python benchmarks/decoder_accuracy.py DATA --model runs/a/best.keras
    python benchmarks/decoder_accuracy.py DATA --perfect 384 [--subpixel]
"""

from __future__ import annotations

import argparse
import functools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import cv2
import numpy as np
import tensorflow as tf
from perfect_maps import perfect_maps

from ehrnet_tf.data.coco import Record, read_records
from ehrnet_tf.decoding import decode, decode_live, decoder, graph, live, project
from ehrnet_tf.evaluation.coco_ap import average_precision
from ehrnet_tf.images import read_image
from ehrnet_tf.keypoints import load
from ehrnet_tf.poses import Poses
from ehrnet_tf.runtime import PoseEstimator
from ehrnet_tf.runtime.letterbox import Letterbox

KEYPOINTS = load("coco")
ROUNDS = (1, 2, 3, 6)


class Seen(NamedTuple):
    """One picture's maps and geometry."""

    record: Record
    maps: dict[str, np.ndarray]
    box: Letterbox


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="a folder in COCO's layout")
    parser.add_argument("--split", default="val2017")
    parser.add_argument("--limit", type=int, help="only the first so many pictures")
    parser.add_argument("--model", help="a model file of the graph 'maps'")
    parser.add_argument("--perfect", type=int, metavar="SIZE", help="perfect maps instead, for this input size")
    parser.add_argument("--subpixel", action="store_true", help="Gaussians at the keypoint itself, not at its cell")
    arguments = parser.parse_args()
    if (arguments.model is None) == (arguments.perfect is None):
        parser.error("give --model or --perfect")
    records = read_records(arguments.data, arguments.split, KEYPOINTS, limit=arguments.limit)
    if arguments.model:
        seen = list(model_maps(arguments.model, records))
    else:
        seen = [Seen(r, *perfect_maps(r, arguments.perfect, 2.0, arguments.subpixel)) for r in records]
    ids = [record.image_id for record in records]
    for name, method in methods().items():
        results = [result for one in seen for result in to_results(one, *method(one))]
        figures = average_precision(records.annotation_file, results, KEYPOINTS, ids)
        print(f"| {name} | {figures['AP']:.4f} | {figures['AP50']:.4f} | {figures['AP75']:.4f} |", flush=True)


def model_maps(path: str, records: Any) -> Iterator[Seen]:
    estimator = PoseEstimator(path)
    for record in records:
        prepared = estimator.prepare(read_image(record.path))
        yield Seen(record, dict(estimator.run([prepared])[0][0].maps), prepared.box)


def methods() -> dict[str, Callable[[Seen], tuple[np.ndarray, np.ndarray]]]:
    """Name → people (N, K, 3 + T) in input pixels and scores, from one picture's maps."""
    found: dict[str, Callable] = {
        "exact, at the input's resolution": exact,
        "exact, at stage 2's resolution": functools.partial(exact, projected=False),
        "**live**": fast,
        "live, grouped by optimal assignment": optimally_grouped,
        "live, both stages averaged": functools.partial(fast, averaged=True),
        "live, without refinement": functools.partial(fast, refine=False),
    }
    for name, fit in FITS.items():
        found[f"live, {name}"] = functools.partial(with_fit, fit=fit)
    for rounds in ROUNDS:
        found[f"in the graph, {rounds} round{'s' * (rounds > 1)}"] = functools.partial(in_graph, rounds=rounds)
    return found


def to_results(one: Seen, people: np.ndarray, scores: np.ndarray) -> list[dict]:
    keypoints = people[:, :, :3].copy()
    keypoints[:, :, :2] = one.box.to_image(keypoints[:, :, :2])
    keypoints[keypoints[:, :, 2] <= 0] = 0
    return Poses(keypoints, scores, KEYPOINTS, one.box.image_size).to_coco(one.record.image_id)


def exact(one: Seen, projected: bool = True) -> tuple[np.ndarray, np.ndarray]:
    height, width = one.maps["heatmaps_2"].shape[:2]
    stride = 1 if projected else 2
    heat, tags = project(**one.maps, size=(2 * height, 2 * width) if projected else None)
    top, left, bottom, right = one.box.region(heat.shape[:2], stride)
    inside = np.zeros_like(heat)
    inside[top:bottom, left:right] = heat[top:bottom, left:right]
    people, scores = decode(inside, tags)
    people[..., :2] *= stride
    return people, scores


def fast(one: Seen, averaged: bool = False, **changes: Any) -> tuple[np.ndarray, np.ndarray]:
    heat = project(**one.maps)[0] if averaged else one.maps["heatmaps_2"]
    people, scores = decode_live(heat, one.maps["tags"], region=one.box.region(heat.shape[:2], 2), **changes)
    people[..., :2] *= 2
    return people, scores


def optimally_grouped(one: Seen) -> tuple[np.ndarray, np.ndarray]:
    with mock.patch.object(live, "group_greedily", decoder.group):
        return fast(one)


def with_fit(one: Seen, fit: Callable) -> tuple[np.ndarray, np.ndarray]:
    side = 7 if fit is dark else 3
    with mock.patch.object(live, "fit", fit), mock.patch.object(live, "FITTED", side):
        return fast(one)


@functools.cache
def compiled(rounds: int) -> Callable:
    def find(image: tf.Tensor, heat: tf.Tensor, tags: tf.Tensor) -> dict[str, tf.Tensor]:
        return graph.find_people(image, heat, tags, rounds=rounds)

    return tf.function(find)


def in_graph(one: Seen, rounds: int) -> tuple[np.ndarray, np.ndarray]:
    height, width = one.maps["heatmaps_2"].shape[:2]
    image = np.zeros((1, 2 * height, 2 * width, 3), np.uint8)
    top, left, bottom, right = one.box.region((2 * height, 2 * width))
    image[:, top:bottom, left:right] = 255
    found = compiled(rounds)(*(tf.constant(a) for a in (image, one.maps["heatmaps_2"][None], one.maps["tags"][None])))
    keypoints, scores = found["keypoints"].numpy()[0], found["scores"].numpy()[0]
    return keypoints[scores > 0], scores[scores > 0]


# Sub-pixel fits: (n, 3, 3) heat round the peaks to (n, 2) offsets in x and y, as `live.fit`.


def centre(window: np.ndarray) -> np.ndarray:
    return np.zeros((len(window), 2))


def quarter(window: np.ndarray) -> np.ndarray:
    higher = window[:, 1, 2] > window[:, 1, 0], window[:, 2, 1] > window[:, 0, 1]
    return np.where(np.column_stack(higher), 0.25, -0.25)


def parabola(window: np.ndarray, log: bool = False) -> np.ndarray:
    """One parabola through three cells along each axis."""
    window = logarithms(window) if log else window.astype(float)
    offsets = []
    for before, after in ((window[:, 1, 0], window[:, 1, 2]), (window[:, 0, 1], window[:, 2, 1])):
        curve = np.minimum(before - 2 * window[:, 1, 1] + after, -1e-12)
        offsets.append(np.clip((before - after) / (2 * curve), -0.5, 0.5))
    return np.column_stack(offsets)


def taylor(window: np.ndarray) -> np.ndarray:
    """Second-order Taylor expansion of the log heat by central differences (DARK, Zhang et al., 2020)."""
    w = logarithms(window)
    slope = np.column_stack((w[:, 1, 2] - w[:, 1, 0], w[:, 2, 1] - w[:, 0, 1])) / 2
    xx, yy = w[:, 1, 2] - 2 * w[:, 1, 1] + w[:, 1, 0], w[:, 2, 1] - 2 * w[:, 1, 1] + w[:, 0, 1]
    xy = (w[:, 2, 2] - w[:, 2, 0] - w[:, 0, 2] + w[:, 0, 0]) / 4
    determinant = xx * yy - xy * xy
    sound = (determinant > 1e-9) & (xx < 0)
    offset = np.column_stack((xy * slope[:, 1] - yy * slope[:, 0], xy * slope[:, 0] - xx * slope[:, 1]))
    return np.where(sound[:, None], np.clip(offset / np.where(sound, determinant, 1)[:, None], -1, 1), 0)


def dark(window: np.ndarray) -> np.ndarray:
    """The same on maps smoothed by a Gaussian of 5x5 cells, as DARK does it; takes (n, 7, 7)."""
    line = cv2.getGaussianKernel(5, 0).astype(np.float32)
    patches = np.lib.stride_tricks.sliding_window_view(window, (5, 5), axis=(1, 2))
    return taylor((patches * (line @ line.T)).sum(axis=(3, 4)))


def logarithms(window: np.ndarray) -> np.ndarray:
    return np.log(np.maximum(window, 1e-3 * window[:, 1:2, 1:2]).astype(float))


FITS = {
    "at the cell's centre": centre,
    "quarter of a cell": quarter,
    "parabola": parabola,
    "parabola of the logarithm": functools.partial(parabola, log=True),
    "Taylor (DARK without smoothing)": taylor,
    "DARK": dark,
}


if __name__ == "__main__":
    main()
