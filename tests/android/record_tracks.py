"""Writes golden/tracks.npz: short sequences, and the ids and smoothed places that Tracker and Smoother give.

    python tests/android/record_tracks.py

After a change of these test_tracks_contract.py fails until this is run; then posekit's TracksContractTest fails until
android_demo/posekit follows. Keys of the file: ``sequences`` names, and for each

- ``NAME/times`` (F,) float64, seconds; ``NAME/counts`` (F,) people in each picture;
- ``NAME/keypoints`` (P, K, 3) float32, the people of all pictures one after the other; ``NAME/sigmas`` (K,);
- ``NAME/settings``: patience, min_similarity, min_cutoff, beta, derivative_cutoff, memory;
- ``NAME/ids`` (P,) and ``NAME/smoothed`` (P, K, 2) float32, pixels: the answers; ``NAME/remembered`` (F, 2): how many
  people tracker and smoother remember after each picture.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from ehrnet_tf.files import atomic_path
from ehrnet_tf.keypoints import KeypointSet, load
from ehrnet_tf.poses import Poses
from ehrnet_tf.smoothing import Smoother
from ehrnet_tf.tracking import Tracker

TESTS = Path(__file__).parents[1]
GOLDEN = TESTS / "golden" / "tracks.npz"
DEFAULTS = (1.0, 0.02, 1.0, 6.0, 1.0, 1.0)
CORNERS = load("corners")

Arrays = dict[str, np.ndarray]


def pack(times, frames, sigmas=None, settings=DEFAULTS) -> Arrays:
    """A sequence as the file holds it; places to 1/16 pixel, for a small file."""
    people = np.concatenate([np.asarray(frame, np.float32) for frame in frames])
    people[:, :, :2] = np.round(people[:, :, :2] * 16) / 16
    return {
        "times": np.array(times, np.float64),
        "counts": np.array([len(frame) for frame in frames], np.int64),
        "keypoints": people,
        "sigmas": np.array(load("coco").sigmas if sigmas is None else sigmas, np.float64),
        "settings": np.array(settings, np.float64),
    }


def of_walkers(people, times, seed, **more) -> Arrays:
    from walkers import film

    filmed = film(people, times, np.random.default_rng(seed))
    return pack(times, [poses.keypoints for poses in filmed.frames], **more)


def card(x, y, size=60.0, score=1.0) -> np.ndarray:
    """(4, 3): a square's corners."""
    places = [[x, y], [x + size, y], [x + size, y + size], [x, y + size]]
    return np.array([[*place, score] for place in places], np.float32)


def corners(seed, times, people=3, **more) -> Arrays:
    """Cards that wander about and are sometimes away, whole or a corner."""
    rng = np.random.default_rng(seed)
    places, frames = rng.uniform(50, 400, (people, 2)), []
    for _ in times:
        places += rng.normal(0, 6, places.shape)
        cards = np.array([card(*place) for place in places[rng.permutation(people)]])
        cards[rng.random((people, 4)) < 0.2] = 0
        frames.append(cards[rng.random(people) < 0.9])
    return pack(times, frames, sigmas=CORNERS.sigmas, **more)


def bad_numbers() -> Arrays:
    """Keypoints of NaN and infinity, a card of nothing else, one without keypoints."""
    frames = []
    for i in range(8):
        cards = np.array([card(10 + 3 * i, 20), card(200, 20 + i), np.zeros((4, 3)), card(90, 90, score=np.nan)])
        cards[0, i % 4, i % 3] = np.nan
        cards[1, (i + 1) % 4, i % 2] = np.inf
        if i % 2:
            cards[1, 0, 2] = np.inf
        frames.append(cards)
    return pack([i / 10 for i in range(8)], frames, sigmas=CORNERS.sigmas)


def sequences() -> dict[str, Arrays]:
    """All sequences by name, without the answers."""
    import walkers

    def every(step: float, count: int) -> list[float]:
        return [round(i * step, 6) for i in range(count)]

    rng = np.random.default_rng(9)
    irregular = np.cumsum(rng.choice([0.02, 0.05, 0.1, 0.4, 1.3], 40)).round(3).tolist()
    strange = [5.0, 5.0, 5.1, 5.05, 5.05, 5.2, -3.0, -2.9, -2.9, -2.5, 100.0, 100.1, 100.1, 99.0, 99.3, 99.4]
    hidden = walkers.crossing(rng, 30, hidden=1 / 3)
    return {
        "crossing, hidden": of_walkers(hidden, [t + 1.2 for t in every(1 / 15, 24)], 0),
        "crowd": of_walkers(walkers.crowd(rng, 5)[:12], [t + 0.5 for t in every(0.2, 8)], 1),
        "entering": of_walkers(walkers.entering(rng, 10), every(0.1, 30), 2),
        "joints missing": of_walkers([walkers.straight(rng, 80, missing=0.6) for _ in range(3)], every(0.05, 20), 3),
        "irregular times": of_walkers(walkers.turning(rng, 10)[:2], irregular, 4),
        "equal and backward times": corners(5, strange),
        "turning": of_walkers(walkers.turning(rng, 5)[:3], every(0.2, 20), 6),
        "cards": corners(7, every(0.05, 60), people=4),
        "little patience": corners(8, every(0.1, 40), settings=(0.15, 0.3, 0.5, 2.0, 3.0, 0.25)),
        "no patience": corners(9, every(0.1, 20), settings=(0.0, 1.0, 2.0, 0.0, 1.0, 0.0)),
        "numbers that are none": bad_numbers(),
        "one keypoint": pack(every(0.1, 20), [[[[5 + 4 * i, 9, 1]]] for i in range(20)], sigmas=[0.05]),
        "nobody": pack(every(0.1, 5), [np.zeros((0, 4, 3))] * 5, sigmas=CORNERS.sigmas),
    }


def answers(sequence: Arrays) -> Arrays:
    """What tracker and smoother make of a sequence."""
    patience, min_similarity, min_cutoff, beta, derivative_cutoff, memory = sequence["settings"].tolist()
    tracker = Tracker(sequence["sigmas"], patience, min_similarity)
    smoother = Smoother(min_cutoff, beta, derivative_cutoff, memory)
    points = KeypointSet.from_dict({"name": "any", "keypoints": [f"k{k}" for k in range(len(sequence["sigmas"]))]})
    ids, smoothed, remembered = [np.zeros(0, np.int64)], [], []
    people = np.split(sequence["keypoints"], np.cumsum(sequence["counts"])[:-1])
    for seconds, keypoints in zip(sequence["times"].tolist(), people, strict=True):
        tracked = tracker(Poses(keypoints, np.ones(len(keypoints)), points, (480, 640)), seconds)
        ids.append(tracked.ids)
        smoothed.append(smoother(tracked, seconds).keypoints[:, :, :2])
        remembered.append([tracker.remembered, smoother.remembered])
    return {
        "ids": np.concatenate(ids),
        "smoothed": np.concatenate(smoothed),
        "remembered": np.array(remembered, np.int64),
    }


def everything() -> Arrays:
    """The arrays of the file."""
    found = sequences()
    arrays = {"sequences": np.array(list(found))}
    for name, sequence in found.items():
        arrays.update({f"{name}/{key}": values for key, values in {**sequence, **answers(sequence)}.items()})
    return arrays


def main() -> None:
    sys.path.insert(0, str(TESTS))
    with atomic_path(GOLDEN) as temporary:
        np.savez_compressed(temporary, **everything())


if __name__ == "__main__":
    main()
