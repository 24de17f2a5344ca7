"""A small classification set out of a keypoint data set: patches round body parts, one folder a part.

    python benchmarks/body_parts.py DATA OUT
    ehrnet pretrain --config body-parts --data OUT --out runs/parts

Writes OUT/train/<part>/ from train2017 and OUT/val/<part>/ from val2017. Parts are keypoints without their side (nose,
eyes and ears count as head) and background. A patch is as wide as WIDTH times the square root of the person's area.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from ehrnet_tf.data.coco import Record, read_records
from ehrnet_tf.errors import EhrnetError
from ehrnet_tf.files import atomic_path
from ehrnet_tf.images import read_image
from ehrnet_tf.keypoints import load

WIDTH = 0.5
SMALLEST = 20  # pixels; narrower patches show nothing
HEAD = {"nose", "eye", "ear"}
SPLITS = {"train": "train2017", "val": "val2017"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="a folder in COCO's layout")
    parser.add_argument("out", type=Path, help="new folder")
    parser.add_argument("--train", type=int, default=600, help="patches of a part at most (%(default)s)")
    parser.add_argument("--val", type=int, default=100, help="the same for validation (%(default)s)")
    parser.add_argument("--size", type=int, default=72, help="side of a written patch, pixels (%(default)s)")
    arguments = parser.parse_args()
    if arguments.out.exists():
        raise SystemExit(f"{arguments.out}: exists already; choose a new folder")
    for split, source in SPLITS.items():
        counts: dict[str, int] = {}
        for part, patch in patches(arguments.data, source):
            counts[part] = counts.get(part, 0) + 1
            if counts[part] <= getattr(arguments, split):
                square = cv2.resize(patch, (arguments.size, arguments.size), interpolation=cv2.INTER_AREA)
                with atomic_path(arguments.out / split / part / f"{counts[part]:05d}.jpg") as temporary:
                    cv2.imwrite(str(temporary), cv2.cvtColor(square, cv2.COLOR_RGB2BGR))
        print(split, {part: min(count, getattr(arguments, split)) for part, count in sorted(counts.items())})


def patches(data: Path, split: str) -> Iterator[tuple[str, np.ndarray]]:
    """(part, (side, side, 3) uint8 RGB) in an order that mixes pictures, people and parts."""
    keypoints = load("coco")
    parts = [name.split("_")[-1] for name in keypoints.names]
    parts = ["head" if part in HEAD else part for part in parts]
    rng = np.random.default_rng(0)
    records = list(read_records(data, split, keypoints, annotated_only=True))
    for number in rng.permutation(len(records)):
        record = records[number]
        try:
            image = read_image(record.path)
        except EhrnetError:
            continue
        taken = set()
        for person in rng.permutation(len(record.keypoints)):
            side = int(WIDTH * np.sqrt(record.areas[person]))
            for k in rng.permutation(len(parts)):
                x, y, visible = record.keypoints[person, k]
                if visible == 2 and side >= SMALLEST and (person, parts[k]) not in taken:
                    taken.add((person, parts[k]))
                    yield parts[k], cut(image, x, y, side)
        if (place := empty_place(record, rng)) is not None:
            yield "background", cut(image, *place)


def cut(image: np.ndarray, x: float, y: float, side: int) -> np.ndarray:
    """The square of a side round a point; beyond the picture its edge goes on."""
    offsets = np.arange(side) - side // 2
    rows, columns = (np.clip(int(v) + offsets, 0, n - 1) for v, n in zip((y, x), image.shape, strict=False))
    return image[np.ix_(rows, columns)]


def empty_place(record: Record, rng: np.random.Generator) -> tuple[float, float, int] | None:
    """(x, y, side) of a square that no person's box touches; None if ten tries find none."""
    for _ in range(10):
        side = int(rng.uniform(0.1, 0.3) * min(record.width, record.height))
        x, y = rng.uniform(side / 2, record.width - side / 2), rng.uniform(side / 2, record.height - side / 2)
        left, top, width, height = record.boxes.T
        apart = (
            (x + side / 2 < left) | (x - side / 2 > left + width) | (y + side / 2 < top) | (y - side / 2 > top + height)
        )
        if side >= SMALLEST and apart.all():
            return x, y, side
    return None


if __name__ == "__main__":
    main()
