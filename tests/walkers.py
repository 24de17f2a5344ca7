"""Made-up people who move through pictures of 640 x 480: who is who, and where every keypoint really is, is known.

android_demo/posekit's Walkers.kt has the same kind of people.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np

from ehrnet_tf import keypoints
from ehrnet_tf.poses import Poses

COCO = keypoints.load("coco")
HEIGHT, WIDTH = 480, 640
SECONDS = 4.0
# COCO's keypoints of an upright person of height 1, about the middle.
SHAPE = np.array(
    [
        [0.00, -0.42], [0.02, -0.44], [-0.02, -0.44], [0.04, -0.43], [-0.04, -0.43],
        [0.11, -0.30], [-0.11, -0.30], [0.14, -0.13], [-0.14, -0.13], [0.15, 0.00], [-0.15, 0.00],
        [0.07, 0.02], [-0.07, 0.02], [0.07, 0.24], [-0.07, 0.24], [0.07, 0.46], [-0.07, 0.46],
    ]
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Walker:
    """One person.

    Attributes:
      height: pixels.
      x, y: of the middle at a time in seconds, pixels.
      missing: the share of keypoints that are not found.
      noise: standard deviation of the places found, pixels.
      seen: whether the person is in sight at a time.
      swing: amplitude of arms and legs, heights.
    """

    height: float
    x: Callable[[float], float]
    y: Callable[[float], float]
    missing: float = 0.1
    noise: float = 1.5
    seen: Callable[[float], bool] = lambda seconds: True
    swing: float = 0.04

    def places(self, seconds: float) -> np.ndarray:
        """(K, 2): where the keypoints really are, pixels."""
        limbs = np.where(np.arange(17) >= 7, self.swing * np.sin(3 * np.pi * seconds + np.arange(17)), 0)
        return (self.x(seconds), self.y(seconds)) + self.height * (SHAPE + np.stack((limbs, 0 * limbs), 1))


@dataclasses.dataclass(frozen=True)
class Film:
    """What is seen of people, and the truth.

    Attributes:
      times: F times in seconds.
      frames: F Poses, of N people each, in an order that tells nothing.
      who: F arrays (N,) of the people's numbers.
      truth: F arrays (N, K, 2) of true places, pixels.
    """

    times: list[float]
    frames: list[Poses]
    who: list[np.ndarray]
    truth: list[np.ndarray]


def film(people: list[Walker], times: list[float], rng: np.random.Generator) -> Film:
    """Films people at these times; keypoints outside the picture are not found, nor people without a keypoint."""
    frames, who, truth = [], [], []
    for seconds in times:
        seen = [i for i in rng.permutation(len(people)).tolist() if people[i].seen(seconds)]
        true = np.array([people[i].places(seconds) for i in seen]).reshape(-1, 17, 2)
        noise = np.array([people[i].noise for i in seen]).reshape(-1, 1, 1)
        missing = np.array([people[i].missing for i in seen]).reshape(-1, 1)
        places = true + noise * rng.normal(size=true.shape)
        found = (rng.random(places.shape[:2]) >= missing) & ((places >= 0) & (places <= (WIDTH, HEIGHT))).all(axis=2)
        joints = np.concatenate((places, np.full((len(seen), 17, 1), 0.8)), axis=2) * found[:, :, None]
        kept = found.any(axis=1)
        frames.append(Poses(joints[kept], np.full(kept.sum(), 0.7), COCO, (HEIGHT, WIDTH)))
        who.append(np.array(seen, np.int64)[kept])
        truth.append(true[kept])
    return Film(times, frames, who, truth)


def sequence(name: str, fps: int, seed: int) -> Film:
    """One of SEQUENCES, of SECONDS, at so many pictures a second."""
    rng = np.random.default_rng(seed)
    people = SEQUENCES[name](rng, fps)
    return film(people, [i / fps for i in range(round(SECONDS * fps))], rng)


def crossing(rng: np.random.Generator, fps: int, hidden: float = 0.0, **more: float) -> list[Walker]:
    """Two people who pass each other in the middle; the one behind is out of sight for ``hidden`` seconds."""
    people = []
    for i in range(2):
        speed = rng.uniform(80, 200) * (1 - 2 * i)
        people.append(
            Walker(
                rng.uniform(180, 220),
                lambda t, speed=speed: 320 + speed * (t - 2),
                lambda t, i=i: 240 + 6 * i,
                seen=lambda t, i=i: i == 0 or not abs(t - 2) < hidden / 2,
                **more,
            )
        )
    return people


def turning(rng: np.random.Generator, fps: int) -> list[Walker]:
    """Four people side by side who go to and fro, in each other's places."""
    people = []
    for i in range(4):
        width, phase = rng.uniform(30, 125), rng.uniform(0, 6)
        people.append(
            Walker(
                rng.uniform(80, 200),
                lambda t, i=i, width=width, phase=phase: 100 + 140 * i + width * np.sin(2 * t + phase),
                lambda t, phase=phase: 200 + 30 * np.sin(1.3 * t + phase),
                missing=0.3,
            )
        )
    return people


def straight(rng: np.random.Generator, speed: float, **more: float | Callable[[float], bool]) -> Walker:
    """Someone anywhere who walks straight on, up to ``speed`` pixels a second to the side."""
    x, y = rng.uniform(0, 640), rng.uniform(100, 400)
    vx, vy = rng.uniform(-speed, speed), rng.uniform(-speed, speed) / 4
    return Walker(rng.uniform(50, 140), lambda t: x + vx * t, lambda t: y + vy * t, **more)


def crowd(rng: np.random.Generator, fps: int) -> list[Walker]:
    """30 people who walk among each other, each out of sight once, for 0.3 to 0.6 s."""
    people = []
    for _ in range(30):
        begin, length = rng.uniform(0, 3), rng.uniform(0.3, 0.6)
        seen = lambda t, begin=begin, length=length: not begin <= t <= begin + length  # noqa: E731
        people.append(straight(rng, 80, missing=0.2, seen=seen))
    return people


def entering(rng: np.random.Generator, fps: int) -> list[Walker]:
    """Twelve people who walk in at one side and out at the other, one after the other, cut off by the edges."""
    people = []
    for i in range(12):
        height, y, side = rng.uniform(80, 200), rng.uniform(150, 330), rng.choice([-1, 1])
        speed, begin = rng.uniform(150, 350), 0.3 * i - 1 + rng.uniform(0, 0.3)
        people.append(
            Walker(
                height,
                lambda t, side=side, speed=speed, begin=begin: 320 + side * (speed * (t - begin) - 400),
                lambda t, y=y: y,
            )
        )
    return people


def running(rng: np.random.Generator, fps: int) -> list[Walker]:
    """One person who runs through the picture and back, twice a height a second and more."""
    height, phase = rng.uniform(80, 120), rng.uniform(0, 6)
    return [Walker(height, lambda t: 320 + 230 * np.sin(1.5 * t + phase), lambda t: 240, swing=0.08)]


SEQUENCES: dict[str, Callable[[np.random.Generator, int], list[Walker]]] = {
    "standing": lambda rng, fps: [straight(rng, 0, swing=0) for _ in range(3)],
    "running": running,
    "crossing": crossing,
    "hidden 1/3 s": lambda rng, fps: crossing(rng, fps, hidden=1 / 3),
    "hidden 10 pictures": lambda rng, fps: crossing(rng, fps, hidden=10.5 / fps),
    "turning": turning,
    "30 people": crowd,
    "entering": entering,
    "joints missing": lambda rng, fps: [straight(rng, 80, missing=0.6) for _ in range(5)],
    "noise": lambda rng, fps: [straight(rng, 80, noise=6) for _ in range(5)],
}


class NearestCentre:
    """The baseline: whose centre was nearest when last seen, within half a person's size and a second."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[np.ndarray, float, float]] = {}
        self._next_id = 0

    def __call__(self, poses: Poses, seconds: float) -> Poses:
        from scipy.optimize import linear_sum_assignment

        self._known = {i: person for i, person in self._known.items() if seconds - person[2] <= 1}
        found = poses.keypoints[:, :, 2] > 0
        places = [joints[there, :2] for joints, there in zip(poses.keypoints, found, strict=True)]
        centres = np.array([p.mean(axis=0) for p in places]).reshape(-1, 2)
        last = list(self._known.values())
        distance = np.linalg.norm(centres[:, None] - np.array([k[0] for k in last]).reshape(-1, 2), axis=2)
        near = distance < np.array([k[1] for k in last]) / 2
        rows, columns = linear_sum_assignment(np.where(near, distance - 1e6, 0))
        known = list(self._known)
        ids = {row: known[column] for row, column in zip(rows, columns, strict=True) if near[row, column]}
        for row in range(len(poses)):
            if row not in ids:
                ids[row], self._next_id = self._next_id, self._next_id + 1
            self._known[ids[row]] = (centres[row], np.ptp(places[row][:, 1]), seconds)
        return dataclasses.replace(poses, ids=[ids[row] for row in range(len(poses))])


def id_switches(who: list[np.ndarray], ids: list[np.ndarray]) -> int:
    """How often someone got another id than when last seen.

    Source: IDSW of Bernardin and Stiefelhagen, "Evaluating multiple object tracking performance: the CLEAR MOT
    metrics", 2008; which pose is whose is known here, so that nothing is to be matched.
    """
    last: dict[int, int] = {}
    switches = 0
    for people, given in zip(who, ids, strict=True):
        for person, number in zip(people.tolist(), given.tolist(), strict=True):
            switches += last.get(person, number) != number
            last[person] = number
    return switches


def idf1(who: list[np.ndarray], ids: list[np.ndarray]) -> float:
    """The share of poses that have their person's id, 0..1, if each person owns one id and each id one person.

    Source: Ristani et al., "Performance measures and a data set for multi-target, multi-camera tracking", 2016; with
    as many poses found as there are, IDF1 is that share.
    """
    from scipy.optimize import linear_sum_assignment

    people, persons = np.unique(np.concatenate(who), return_inverse=True)
    numbers, given = np.unique(np.concatenate(ids), return_inverse=True)
    together = np.zeros((len(people), len(numbers)))
    np.add.at(together, (persons, given), 1)
    rows, columns = linear_sum_assignment(-together)
    return float(together[rows, columns].sum() / max(len(persons), 1))
