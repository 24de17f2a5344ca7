"""What `ehrnet check-data` finds of exchanged sides and pictures saved again, made on purpose in a real data set.

    python benchmarks/data_faults.py DATA [--share 0.05] [--seed 0]

Sides: in a share of the people, all left and right names are exchanged, or those of one pair of eyes, ears, shoulders,
elbows or hips, or all below the face. Printed: how many of them are found (recall), of all and of those that can be
told (a face seen; for pairs, the pair labelled), and how many of all that is found was exchanged (precision; what is
found without any exchange counts as wrong, although some of it is not). Near duplicates: every 10th picture saved again
in another way.
"""

import argparse
from pathlib import Path

import cv2
import numpy as np

from ehrnet_tf import keypoints
from ehrnet_tf.data.check import find_splits
from ehrnet_tf.data.checks.annotations import read_split
from ehrnet_tf.data.checks.duplicates import near_pairs
from ehrnet_tf.data.checks.files import thumbnail
from ehrnet_tf.data.checks.findings import Findings
from ehrnet_tf.data.checks.sides import crossed_parts, mirrored_faces

RIGID = ("eye", "ear", "shoulder", "elbow", "hip")


def suspects(points: np.ndarray, keypoint_set: keypoints.KeypointSet) -> np.ndarray:
    """(P,) bool: either test."""
    return mirrored_faces(points, keypoint_set)[1] | crossed_parts(points, keypoint_set)[0].any(axis=(1, 2))


def sides(points: np.ndarray, keypoint_set: keypoints.KeypointSet, share: float, rng: np.random.Generator) -> None:
    faces = mirrored_faces(points, keypoint_set)[0]
    order = np.array(keypoint_set.flip_order)
    print(f"people {len(points)}, faces seen {faces.sum()}, suspect as they are {suspects(points, keypoint_set).sum()}")
    pairs = [pair for pair in keypoint_set.flip_pairs if any(part in keypoint_set.names[pair[0]] for part in RIGID)]
    body = [k for k, name in enumerate(keypoint_set.names) if not any(w in name for w in ("nose", "eye", "ear"))]
    for kind in ("all", "body", "pair"):
        changed, chosen, tellable = points.copy(), rng.random(len(points)) < share, faces.copy()
        for i in np.flatnonzero(chosen):
            pair = list(pairs[rng.integers(len(pairs))])
            those = {"all": range(len(order)), "body": body, "pair": pair}[kind]
            changed[i, those] = points[i, order[list(those)]]
            if kind == "pair":
                tellable[i] = (points[i, pair, 2] > 0).all()
                chosen[i] = tellable[i]
        found = suspects(changed, keypoint_set)
        hits = found & chosen
        print(
            f"{kind:5} exchanged {chosen.sum():4}: recall {hits.sum() / chosen.sum():.2f}, of the tellable "
            f"{(hits & tellable).sum() / (chosen & tellable).sum():.2f}; precision {hits.sum() / found.sum():.2f}"
        )


def again(image: np.ndarray) -> dict[str, np.ndarray]:
    """A grey picture saved again."""
    height, width = image.shape
    crop = image[height // 50 : height - height // 50, width // 50 : width - width // 50]
    return {
        "JPEG quality 30": cv2.imdecode(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 30])[1], 0),
        "half the size": cv2.resize(image, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA),
        "20 % brighter": cv2.convertScaleAbs(image, alpha=1.2),
        "2 % cut off at every edge": crop,
    }


def near(paths: list[Path]) -> None:
    thumbnails = [thumbnail(cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)) for path in paths]
    print(f"near duplicates among {len(paths)} pictures as they are: {len(near_pairs(np.array(thumbnails)))}")
    copies: dict[str, list[np.ndarray]] = {}
    for path in paths[::10]:
        for name, image in again(cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)).items():
            copies.setdefault(name, []).append(thumbnail(image))
    for name, saved in copies.items():
        right = {(10 * i, len(paths) + i) for i in range(len(saved))}
        print(f"{name:26} {len(right & set(near_pairs(np.array(thumbnails + saved))))} of {len(saved)} found")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("--share", type=float, default=0.05)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    keypoint_set = keypoints.load("coco")
    splits = [read_split(Path(args.data), name, keypoint_set, None, Findings()) for name in find_splits(args.data)]
    points = np.concatenate([split.points[split.labelled.any(axis=1)] for split in splits])
    sides(points, keypoint_set, args.share, np.random.default_rng(args.seed))
    near([split.folder / image["file_name"] for split in splits for image in split.images.values()])


if __name__ == "__main__":
    main()
