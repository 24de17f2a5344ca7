"""Training batches a second: our in-graph pipeline against a straightforward loader of OpenCV and NumPy.

The baseline reads, warps and draws targets picture by picture in one process a core, as the reference's data set does
(HigherHRNet's published steps, written down here): polygons to masks, `cv2.warpAffine` for the picture and both masks,
a Gaussian patch for every joint and map. A process collates its batches into shared memory, as PyTorch's loader does.
Both take turns on the same cores, with all augmentations; the ratio is of medians.

    taskset -c 0,1 python benchmarks/input_pipeline.py DATA --size 384
    taskset -c 0 python benchmarks/input_pipeline.py DATA --stages
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import multiprocessing
import os
import statistics
import time
from pathlib import Path

import cv2
import numpy as np

SIGMA, MAX_PEOPLE = 2.0, 30
MEAN = np.float32([0.485, 0.456, 0.406]).reshape(3, 1, 1)
DEVIATION = np.float32([0.229, 0.224, 0.225]).reshape(3, 1, 1)


class PlainLoader:
    """One picture at a time: (picture, heat-maps, masks, joints) of two resolutions."""

    def __init__(self, root: Path, split: str, size: int):
        from pycocotools.coco import COCO

        from ehrnet_tf.keypoints import load

        with contextlib.redirect_stdout(None):
            self.coco = COCO(root / "annotations" / f"person_keypoints_{split}.json")
        self.folder, self.size = root / split, size
        self.ids = sorted({a["image_id"] for a in self.coco.dataset["annotations"]})
        self.flip_order = list(load("coco").flip_order)
        reach = math.ceil(3 * SIGMA + 1)
        offsets = np.arange(-reach, reach + 1)
        self.patch = np.exp(-(offsets[:, None] ** 2 + offsets**2) / (2 * SIGMA**2)).astype(np.float32)
        self.reach = reach

    def __call__(self, image_id: int) -> list[np.ndarray]:
        rng = np.random.default_rng()
        image = self.coco.imgs[image_id]
        picture = cv2.cvtColor(cv2.imread(str(self.folder / image["file_name"])), cv2.COLOR_BGR2RGB)
        people, mask = self.people(image, image_id)
        matrix = self.random_matrix(image["height"], image["width"], rng)
        people[..., :2] = people[..., :2] @ matrix[:, :2].T + matrix[:, 2]
        picture = self.warp(picture, matrix, self.size)
        masks = [self.warp(mask, matrix / s, self.size // s) > 0.5 for s in (4, 2)]
        if rng.random() < 0.5:
            picture, masks = picture[:, ::-1], [m[:, ::-1] for m in masks]
            people = people[:, self.flip_order]
            people[..., 0] = self.size - people[..., 0]
        planes = np.ascontiguousarray(picture.transpose(2, 0, 1)).astype(np.float32) / 255
        sample = [(planes - MEAN) / DEVIATION]
        for stride, mask_at in zip((4, 2), masks, strict=True):
            sample.append(mask_at.astype(np.float32))
            sample += self.targets(people / [stride, stride, 1], self.size // stride)
        return sample

    def people(self, image: dict, image_id: int) -> tuple[np.ndarray, np.ndarray]:
        people, mask = [], np.zeros((image["height"], image["width"]), np.uint8)
        for annotation in self.coco.imgToAnns[image_id]:
            if annotation["iscrowd"] or annotation["num_keypoints"] == 0:
                if annotation["segmentation"]:
                    mask |= self.coco.annToMask(annotation)
            else:
                people.append(np.array(annotation["keypoints"], np.float32).reshape(-1, 3))
        return np.array(people, np.float32).reshape(-1, 17, 3), 1 - mask

    def random_matrix(self, height: int, width: int, rng: np.random.Generator) -> np.ndarray:
        side = min(height, width) * rng.uniform(0.75, 1.5)
        centre = np.array([width, height]) / 2 + rng.uniform(-0.2, 0.2, 2) * side
        matrix = cv2.getRotationMatrix2D(centre, rng.uniform(-30, 30), self.size / side)
        matrix[:, 2] += self.size / 2 - centre
        return matrix

    @staticmethod
    def warp(picture: np.ndarray, matrix: np.ndarray, side: int) -> np.ndarray:
        return cv2.warpAffine(picture, matrix, (side, side))

    def targets(self, people: np.ndarray, side: int) -> list[np.ndarray]:
        heatmaps = np.zeros((17, side, side), np.float32)
        joints = np.zeros((MAX_PEOPLE, 17, 2), np.int64)
        for p, person in enumerate(people):
            for k, (x, y, v) in enumerate(person):
                x, y = int(x), int(y)
                if v <= 0 or not (0 <= x < side and 0 <= y < side):
                    continue
                left, top = max(0, x - self.reach), max(0, y - self.reach)
                right, bottom = min(side, x + self.reach + 1), min(side, y + self.reach + 1)
                shift_x, shift_y = self.reach - x, self.reach - y
                patch = self.patch[top + shift_y : bottom + shift_y, left + shift_x : right + shift_x]
                area = heatmaps[k, top:bottom, left:right]
                np.maximum(area, patch, out=area)
                if p < MAX_PEOPLE:
                    joints[p, k] = (k * side + y) * side + x, 1
        return [heatmaps, joints]


_loader: PlainLoader
_shared: np.ndarray


def start(root: Path, split: str, size: int, shared) -> None:
    """Makes a worker's loader; ``shared`` takes a batch."""
    global _loader, _shared
    cv2.setNumThreads(0)
    _loader, _shared = PlainLoader(root, split, size), np.frombuffer(shared, np.uint8)


def load(image_ids: list[int]) -> int:
    """Makes a batch in shared memory; returns how many pictures it has."""
    begin = 0
    for arrays in zip(*map(_loader, image_ids), strict=True):
        size = len(arrays) * arrays[0].nbytes
        np.stack(arrays, out=_shared[begin : begin + size].view(arrays[0].dtype).reshape(-1, *arrays[0].shape))
        begin += size
    return len(image_ids)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="a folder in COCO's layout")
    parser.add_argument("--split", default="train2017")
    parser.add_argument("--size", type=int, default=384)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--pictures", type=int, default=800, help="a round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--shards", type=Path, help="also read this folder, as `ehrnet make-shards` writes it")
    parser.add_argument("--stages", action="store_true", help="only: milliseconds of the pipeline's stages, one thread")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    arguments = parser.parse_args()
    if arguments.stages:
        stages(arguments)
        return
    cores = len(os.sched_getaffinity(0))
    ids = sorted(
        {
            a["image_id"]
            for a in json.loads(
                (arguments.data / "annotations" / f"person_keypoints_{arguments.split}.json").read_text()
            )["annotations"]
        }
    )
    ids = ids[: arguments.pictures]
    batches_of_ids = [ids[i : i + arguments.batch] for i in range(0, len(ids), arguments.batch)]
    shared = multiprocessing.RawArray("b", arguments.batch * 48 * arguments.size**2)  # a sample has less than 48 S²
    # The workers start first: forking after TensorFlow's threads run is not safe.
    with multiprocessing.get_context("spawn").Pool(
        cores, start, (arguments.data, arguments.split, arguments.size, shared)
    ) as pool:
        pool.map(load, batches_of_ids[: 2 * cores], chunksize=1)
        rounds: dict[str, list[float]] = {"baseline": []}
        sources = {"pictures": arguments.data} | ({"shards": arguments.shards} if arguments.shards else {})
        for _ in range(arguments.rounds):
            begin = time.perf_counter()
            loaded = sum(pool.imap_unordered(load, batches_of_ids))
            rounds["baseline"].append(loaded / (time.perf_counter() - begin))
            for name, root in sources.items():
                rounds.setdefault(name, []).append(rate(stream(root, arguments, cores), arguments.batch, len(ids)))
    medians = {name: statistics.median(rates) for name, rates in rounds.items()}
    for name, rates in rounds.items():
        print(
            f"{name:9} {medians[name]:6.0f} pictures/s ({min(rates):.0f} to {max(rates):.0f}), "
            f"{medians[name] / medians['baseline']:.2f} times the baseline"
        )
    if arguments.json:
        arguments.json.write_text(json.dumps({"cores": cores, "size": arguments.size, "pictures_per_second": medians}))


def stream(root: Path, arguments: argparse.Namespace, cores: int):
    """An endless iterator over batches of the package's pipeline."""
    import tensorflow as tf

    from ehrnet_tf.data import coco_dataset

    config = configuration(arguments)
    cv2.setNumThreads(1)  # as `ehrnet train` does
    options = tf.data.Options()
    options.threading.private_threadpool_size = cores
    return iter(coco_dataset(root, arguments.split, config).repeat().with_options(options))


def configuration(arguments: argparse.Namespace):
    """What both measurements read."""
    from ehrnet_tf.config import Config, DataConfig, ModelConfig, TrainConfig

    return Config(
        model=ModelConfig(input_size=arguments.size),
        data=DataConfig(train_split=arguments.split, limit=arguments.pictures),
        train=TrainConfig(batch_size=arguments.batch),
    )


def stages(arguments: argparse.Namespace) -> None:
    """Prints milliseconds a picture of each stage in one thread, and of TensorFlow's operation that warps."""
    import tensorflow as tf

    from ehrnet_tf.data import samples, transforms
    from ehrnet_tf.data.coco import load_records
    from ehrnet_tf.data.pipeline import _targets

    cv2.setNumThreads(1)
    tf.config.threading.set_intra_op_parallelism_threads(1)
    config, size = configuration(arguments), arguments.size
    records = load_records(arguments.data, arguments.split, config)
    rng = np.random.default_rng(0)
    matrices = [transforms.random_matrix(r.height, r.width, size, config.augment, rng)[0] for r in records]
    pictures = [samples.decode(record, 1.0)[0] for record in records]
    reader = samples.Samples(records, size, config.augment, 0, len(records))
    batches = [reader.batch(range(i, i + arguments.batch)) for i in range(0, len(records) - arguments.batch, 8)]
    targets = tf.function(_targets(config), reduce_retracing=True)
    inverse = tf.constant([[0.8, 0.2, 20.0, -0.2, 0.8, 40.0, 0.0, 0.0]])

    def tensorflow(picture: np.ndarray):
        return tf.raw_ops.ImageProjectiveTransformV3(
            images=tf.cast(picture[None], tf.float32),
            transforms=inverse,
            output_shape=[size, size],
            fill_value=0.0,
            interpolation="BILINEAR",
        )

    def spent(name: str, calls: list, pictures: int) -> None:
        calls[0]()
        begin = time.perf_counter()
        for call in calls:
            call()
        print(f"{name:34} {1000 * (time.perf_counter() - begin) / pictures:6.2f} ms a picture")

    count = len(records)
    spent("read and decode", [lambda r=r: samples.decode(r, 1.0) for r in records], count)
    warps = [lambda p=p, m=m: transforms.warp_picture(p, m, size) for p, m in zip(pictures, matrices, strict=True)]
    spent("warp, OpenCV", warps, count)
    spent("warp, TensorFlow (not used)", [lambda p=p: tensorflow(p) for p in pictures], count)
    spent("sample: all of that, and masks", [lambda i=i: reader(i) for i in range(count)], count)
    spent("targets", [lambda b=b: targets(*b) for b in batches], len(batches) * arguments.batch)


def rate(batches, batch: int, pictures: int) -> float:
    """Pictures a second over so many pictures, after as many again: the buffers have found their size."""
    for _ in range(pictures // batch):
        next(batches)
    begin = time.perf_counter()
    for _ in range(pictures // batch):
        next(batches)
    return pictures // batch * batch / (time.perf_counter() - begin)


if __name__ == "__main__":
    main()
