"""What the decoder makes of perfect maps: the AP that no network can pass at an input size.

The training targets of a split's pictures, tags equal to the person's number, go through the exact decoder.

    python benchmarks/perfect_maps.py DATA --split val2017 --size 128 160
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import tensorflow as tf

from ehrnet_tf.data.coco import Record, read_records
from ehrnet_tf.data.targets import gaussian_heatmaps
from ehrnet_tf.decoding import decode, project
from ehrnet_tf.evaluation.coco_ap import average_precision
from ehrnet_tf.keypoints import load
from ehrnet_tf.runtime.letterbox import Letterbox, fit

TAG_DISTANCE = 2.0  # of successive people; the decoder joins tags closer than 1
STAGES = {"heatmaps_4": 4, "heatmaps_2": 2}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="a folder in COCO's layout")
    parser.add_argument("--split", default="val2017")
    parser.add_argument("--size", type=int, nargs="+", default=[128], help="sides of the input, pixels")
    parser.add_argument("--limit", type=int, help="only the first so many pictures")
    parser.add_argument("--sigma", type=float, default=2.0, help="of the Gaussians, cells")
    arguments = parser.parse_args()
    keypoints = load("coco")
    records = read_records(arguments.data, arguments.split, keypoints, limit=arguments.limit)
    print("size  subpixel     AP   AP50   AP75")
    for size in arguments.size:
        for subpixel in (False, True):
            results = []
            for record in records:
                results += decoded(record, size, arguments.sigma, subpixel, keypoints.grouping)
            figures = average_precision(records.annotation_file, results, keypoints, [r.image_id for r in records])
            print(
                f"{size:4}  {subpixel!s:8}", *(f"{figures[name]:6.3f}" for name in ("AP", "AP50", "AP75")), flush=True
            )


def decoded(record: Record, size: int, sigma: float, subpixel: bool, grouping: tuple[int, ...]) -> list[dict]:
    """COCO results of one picture's perfect maps."""
    maps, box = perfect_maps(record, size, sigma, subpixel)
    people, scores = decode(*project(**maps, size=(size, size)), grouping=grouping)
    places = people[:, :, :3].astype(float)
    places[..., :2] = box.to_image(places[..., :2])
    return [
        {"image_id": record.image_id, "category_id": 1, "keypoints": place.ravel().tolist(), "score": float(score)}
        for place, score in zip(places, scores, strict=True)
    ]


def perfect_maps(record: Record, size: int, sigma: float, subpixel: bool) -> tuple[dict[str, np.ndarray], Letterbox]:
    """What a perfect network would answer to a picture in an input of ``size`` pixels a side, and the geometry."""
    box = fit((record.height, record.width), (size, size))
    points = record.keypoints.astype(np.float32)
    points[..., :2] = box.to_input(points[..., :2])
    maps = {}
    for name, stride in STAGES.items():
        cells = tf.constant((points / [stride, stride, 1])[None], tf.float32)
        maps[name] = gaussian_heatmaps(cells, size // stride, size // stride, sigma, subpixel)[0].numpy()
    maps["tags"] = nearest_person(points, size // STAGES["heatmaps_4"]) * TAG_DISTANCE
    return maps, box


def nearest_person(points: np.ndarray, side: int) -> np.ndarray:
    """(side, side, K) float32: the number of the person whose keypoint k is nearest to a cell; 0 without people."""
    if not len(points):
        return np.zeros((side, side, points.shape[1]), np.float32)
    cells = (np.arange(side, dtype=np.float32) + 0.5) * STAGES["heatmaps_4"]
    far = np.where(points[..., 2] > 0, 0, np.inf)[:, :, None, None]
    square = (points[..., 0, None, None] - cells) ** 2 + (points[..., 1, None, None] - cells[:, None]) ** 2
    return (square + far).argmin(axis=0).transpose(1, 2, 0).astype(np.float32)


if __name__ == "__main__":
    main()
