"""Who is found, and who is not: the share of made-up people that a model finds, by what they look like.

    python docs/models/who_is_found.py docs/models/made-up-people.tflite

Pictures are drawn on the spot, as `ehrnet make-data --upright --max-people 2` draws them, from a seed of their own. A
person counts as found if somebody in the picture has an object keypoint similarity (OKS) of 0.5 or more with them.
Needs Python 3.10.
"""

from __future__ import annotations

import argparse

import numpy as np

from ehrnet_tf import PoseEstimator
from ehrnet_tf.data.synthetic.figures import Figure
from ehrnet_tf.data.synthetic.scene import _make

SEED = 77


def groups(figure: Figure) -> dict[str, str]:
    """What a figure is counted under."""
    tone = figure.skin.first @ [0.299, 0.587, 0.114]
    return {
        "skin": "dark" if tone < 100 else "light" if tone > 160 else "middle",
        "size of the head": "child's" if figure.head_radii[0] > 0.064 else "adult's",
        "legs": figure.legs,
        "hair": "bald" if figure.hairline > 1 else "long" if figure.long_hair else "short",
        "on the head": figure.headwear,
    }


def oks(found: np.ndarray, annotation: dict, sigmas: np.ndarray) -> np.ndarray:
    """(N,): COCO's similarity of each pose found, (N, K, 3), to a labelled person."""
    true = np.reshape(annotation["keypoints"], (-1, 3))
    seen = true[:, 2] > 0
    square = np.square(found[:, seen, :2] - true[seen, :2]).sum(axis=2)
    return np.exp(-square / (2 * annotation["area"] * (2 * sigmas[seen]) ** 2)).mean(axis=1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("--pictures", type=int, default=1000)
    args = parser.parse_args()
    estimator = PoseEstimator(args.model)
    sigmas = np.array(estimator.keypoints.sigmas)
    counts: dict[tuple[str, str], list[bool]] = {}
    for index in range(args.pictures):
        picture, annotations, figures = _make(np.random.default_rng([SEED, 1, index]), 256, 2, True)
        people = (annotation for annotation in annotations if not annotation["iscrowd"])  # a crowd has no figure
        poses = estimator(picture)
        for annotation, figure in zip(people, figures, strict=True):
            if not annotation["num_keypoints"]:
                continue
            hit = bool(len(poses)) and bool(oks(poses.keypoints, annotation, sigmas).max() >= 0.5)
            for group in [("all", ""), *groups(figure).items()]:
                counts.setdefault(group, []).append(hit)
    for (name, value), hits in sorted(counts.items()):
        share, spread = np.mean(hits), np.sqrt(np.var(hits) / len(hits))
        print(f"{name:18}{value:10}{len(hits):6} people, {share:.3f} found (± {spread:.3f})")


if __name__ == "__main__":
    main()
