"""Writes golden/geometry.npz: what Python makes of pictures, coordinates, metadata, colours and outputs of networks.

    python tests/android/record_geometry.py

After a change of these test_geometry_contract.py fails until this is run; then posekit's GeometryContractTest fails
until android_demo/posekit follows. Keys of the file:

- ``fits`` names, and for each ``NAME/image`` (h, w), ``NAME/input`` (H, W), 0xRRGGBB: `letterbox`;
- ``regions`` (N, 9): h, w, H, W, stride, and what `Letterbox.region` gives for maps of (H, W) // stride cells;
  ``boxes`` (N, 3): scale, dx, dy;
- ``sets`` names of the built-in keypoint sets, and for each ``NAME/metadata`` (JSON), ``NAME/names``,
  ``NAME/flip_pairs``, ``NAME/skeleton``, ``NAME/sigmas``, ``NAME/grouping``, ``NAME/colors`` (K, K): 0xRRGGBB,
  `drawing.limb_color`;
- ``tflite`` bytes of a model file with ``coco/metadata`` behind it, ``tflite_deflated`` with its member compressed;
- ``decoder/...``: outputs of a made-up network, and the people that `PoseEstimator.decode` finds;
- ``poses/keypoints``, ``poses/scores``, ``poses/json``: `Poses.to_dict` of people of the set "coco".
"""

from __future__ import annotations

import dataclasses
import json
import tempfile
import zipfile
from pathlib import Path

import numpy as np

from ehrnet_tf import keypoints
from ehrnet_tf.configs import FOLDER
from ehrnet_tf.decoding import DecoderSettings, View
from ehrnet_tf.drawing import limb_color
from ehrnet_tf.files import atomic_path
from ehrnet_tf.poses import Poses
from ehrnet_tf.runtime.estimator import PoseEstimator, Prepared
from ehrnet_tf.runtime.letterbox import fit, letterbox
from ehrnet_tf.runtime.metadata import MEMBER, STRIDES, append_metadata
from ehrnet_tf.runtime.protocol import Protocol
from ehrnet_tf.runtime.runners import Runner

GOLDEN = Path(__file__).parents[1] / "golden" / "geometry.npz"

Arrays = dict[str, np.ndarray]

FITS = {  # (height, width) of picture and input
    "as it is": ((32, 48), (32, 48)),
    "up": ((20, 31), (64, 64)),
    "up, portrait": ((27, 11), (64, 96)),
    "down by 1.3": ((83, 125), (64, 96)),
    "down by 1.3, portrait": ((83, 47), (64, 32)),
    "half": ((64, 96), (32, 48)),
    "a little less than half": ((65, 97), (32, 48)),
    "a little more than half": ((57, 85), (32, 48)),
    "down by 2.7": ((130, 173), (64, 64)),
    "down by 2.7, portrait": ((86, 41), (32, 96)),
    "down by 4": ((128, 96), (32, 32)),
    "down by 5": ((120, 160), (32, 32)),
    "down by 5.3, odd": ((171, 61), (32, 32)),
    "a column": ((50, 1), (32, 32)),
    "a long column": ((300, 1), (64, 32)),
    "a row": ((1, 200), (32, 64)),
    "a pixel": ((1, 1), (32, 32)),
}


def fits() -> Arrays:
    found = {"fits": np.array(list(FITS))}
    for seed, (name, (image_size, size)) in enumerate(FITS.items()):
        image = np.random.default_rng(seed).integers(0, 4, (*image_size, 3), dtype=np.uint8) * 85
        found[f"{name}/image"] = packed(image)
        found[f"{name}/input"] = packed(letterbox(image, size)[0])
    return found


def packed(image: np.ndarray) -> np.ndarray:
    """(H, W, 3) uint8 as (H, W) 0xRRGGBB, which takes half the place in the file."""
    return image.astype(np.int64) @ [1 << 16, 1 << 8, 1]


def regions() -> Arrays:
    rng = np.random.default_rng(0)
    sizes = [rng.integers(1, 2000, 2) for _ in range(300)] + [np.array(image_size) for image_size, _ in FITS.values()]
    inputs = [rng.integers(1, 16, 2) * 32 for _ in sizes]
    cameras = [(480, 640), (600, 800), (720, 1280), (1080, 1920), (1440, 1080), (2448, 3264)]
    squares = range(32, 737, 32)
    sizes += [np.array(camera) for camera in cameras for _ in squares]  # whose edges often fall between two cells
    inputs += [np.array([side, side]) for _ in cameras for side in squares]
    rows, boxes = [], []
    for image_size, size in zip(sizes, inputs, strict=True):
        stride = rng.choice([1, 2, 4, 8])
        box = fit(tuple(image_size.tolist()), tuple(size.tolist()))
        region = box.region(tuple((size // stride).tolist()), stride)
        rows.append([*image_size, *size, stride, *region])
        boxes.append([box.scale, box.dx, box.dy])
    return {"regions": np.array(rows, np.int64), "boxes": np.array(boxes)}


def metadata(points: keypoints.KeypointSet) -> dict:
    """What `runtime.metadata.model_metadata` and `converters.tflite` write of an exported model of H-2."""
    return {
        "variant": "H-2",
        "keypoints": points.to_dict(),
        "input": {
            "height": 448,
            "width": 320,
            "nominal": [448, 320],
            "dtype": "uint8",
            "color": "RGB",
            "letterbox": "uniform scale, centred, bilinear, border 0",
        },
        "strides": dict(STRIDES),
        "graph": "maps",
        "decoder": dataclasses.asdict(DecoderSettings(threshold=0.15, max_people=20)),
        "precision": "int8",
        "versions": {"ehrnet-tf": "1.0"},
        "calibration": {"pictures": 200},
        "accuracy": {"AP": 0.5, "AP50": 0.75, "protocol": "letterbox"},
        "source_accuracy": {"AP": 0.625},
    }


def sets() -> Arrays:
    names = sorted(path.stem for path in (FOLDER / "keypoints").glob("*.yaml"))
    found = {"sets": np.array(names)}
    for name in names:
        points = keypoints.load(name)
        count = range(len(points))
        colors = [[int.from_bytes(bytes(limb_color(points, a, b)), "big") for b in count] for a in count]
        parts = {
            "metadata": np.array([json.dumps(metadata(points), indent=1)]),
            "names": np.array(points.names),
            "flip_pairs": np.array(points.flip_pairs, np.int64),
            "skeleton": np.array(points.skeleton, np.int64),
            "sigmas": np.array(points.sigmas, np.float64),
            "grouping": np.array(points.grouping, np.int64),
            "colors": np.array(colors, np.int64),
        }
        found |= {f"{name}/{part}": values for part, values in parts.items()}
    return found


def files() -> Arrays:
    known = metadata(keypoints.load("coco"))
    flatbuffer = b"\x1c\0\0\0TFL3" + bytes(range(256))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.tflite"
        path.write_bytes(flatbuffer)
        append_metadata(path, known)
        stored = path.read_bytes()
        path.write_bytes(flatbuffer)
        with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("another member", "of no use")
            archive.writestr(zipfile.ZipInfo(MEMBER), json.dumps(known), zipfile.ZIP_DEFLATED)
            archive.comment = b"a comment"
        deflated = path.read_bytes()
    return {
        name: np.frombuffer(f, np.uint8).astype(np.int64)
        for name, f in (("tflite", stored), ("tflite_deflated", deflated))
    }


class Outputs(Runner):
    """Stands for a network of an input of 64 x 96; what it gives is handed to `PoseEstimator.decode` directly."""

    name = kind = "made up"
    input_size = (64, 96)

    def __init__(self, graph: str):
        self.graph = graph
        self.keypoints = keypoints.load("corners")
        self.metadata = {}

    def _run(self, images: np.ndarray) -> Arrays:
        raise NotImplementedError


def decoder() -> Arrays:
    """Two things with four corners, one of them in the padding of the picture, which is wider than the input."""
    rng = np.random.default_rng(1)
    height, width = Outputs.input_size
    places = rng.uniform((12, 20), (40, 44), (4, 2)), rng.uniform((48, 26), (90, 44), (4, 2)), rng.uniform(2, 8, (4, 2))
    outputs = {
        "heatmaps_4": np.zeros((height // 4, width // 4, 4)),
        "heatmaps_2": np.zeros((height // 2, width // 2, 4)),
        "tags": np.zeros((height // 4, width // 4, 4)),
    }
    for number, corners in enumerate(places):
        for k, (x, y) in enumerate(corners[: 3 if number == 1 else 4]):
            for name, stride in STRIDES.items():
                rows, columns = (np.indices(outputs[name].shape[:2]) + 0.5) * stride
                square = (columns - x) ** 2 + (rows - y) ** 2
                if name == "tags":
                    outputs[name][square < 60, k] = 3 * number
                else:
                    plane = outputs[name][..., k]
                    np.maximum(plane, 0.9 * np.exp(-square / 8 / stride), out=plane)
    outputs = {name: values.astype(np.float16).astype(np.float32) for name, values in outputs.items()}
    box = fit((100, 300), Outputs.input_size)
    prepared = Prepared((np.zeros((height, width, 3), np.uint8),), box, Outputs.input_size)
    found = {f"decoder/{name}": values for name, values in outputs.items()} | {
        "decoder/image_size": np.array([100, 300])
    }
    for kind in ("live", "exact"):
        poses = PoseEstimator(Outputs("maps"), protocol=Protocol(decoder=kind)).decode([View(outputs, None)], prepared)
        found |= found_people(kind, poses)

    some = np.concatenate([np.stack(places[:2]), rng.uniform(0.1, 1, (2, 4, 1))], axis=2)
    some[1, 3] = 0
    outputs = {"keypoints": np.zeros((5, 4, 3), np.float32), "scores": np.zeros(5, np.float32)}
    outputs["keypoints"][[0, 3]], outputs["scores"][[0, 3]] = some, some[:, :, 2].mean(axis=1)
    found |= {f"decoder/{name}": values for name, values in outputs.items()}
    return found | found_people("poses", PoseEstimator(Outputs("poses")).decode(outputs, prepared))


def found_people(kind: str, poses: Poses) -> Arrays:
    """The exact decoder puts absent keypoints into the input's corner; in the app they are all 0."""
    places = poses.keypoints.copy()
    places[places[:, :, 2] <= 0] = 0
    return {f"decoder/{kind}_people": places, f"decoder/{kind}_scores": poses.scores}


def poses() -> Arrays:
    rng = np.random.default_rng(2)
    joints = rng.uniform((-20, 0, 0), (600, 400, 1), (3, 17, 3)).astype(np.float32)
    joints[1, 5:9] = 0
    joints[2, :6, 0] = [0.0005, 0.0015, 0.0625, 1.5e-5, 1234.5675, 0.0025]  # halves of a thousandth, nearly
    scores = np.array([0.25, 1e-7, 0.123456789], np.float32)
    result = Poses(joints, scores, keypoints.load("coco"), (400, 600)).to_dict()
    return {"poses/keypoints": joints, "poses/scores": scores, "poses/json": np.array([json.dumps(result)])}


def everything() -> Arrays:
    return fits() | regions() | sets() | files() | decoder() | poses()


def record(path: Path) -> None:
    arrays = everything()
    with atomic_path(path) as temporary, open(temporary, "wb") as file:
        np.savez_compressed(file, **arrays)


if __name__ == "__main__":
    record(GOLDEN)
    print(f"{GOLDEN}: {GOLDEN.stat().st_size / 1024:.0f} KiB")
