"""What tracking and smoothing are worth, on made-up people whose identity and place are known; and what they cost.

Before: the nearest centre, and keypoints as found. After: Tracker and Smoother with their defaults. Sequences of
4 s from tests/walkers.py, the same for both:

- switches: how often someone got another id than when last seen (IDSW of CLEAR MOT, Bernardin and Stiefelhagen 2008);
- idf1: the share of poses under their person's id, if each person owns one (IDF1, Ristani et al. 2016), per cent;
- jitter: root mean square of the change of a coordinate's error from picture to picture, pixels;
- error: root mean square of a coordinate's error, pixels;
- lag: how far behind the truth smoothed keypoints are, ms: -sum(error speed) / sum(speed²).

    python benchmarks/tracking.py --csv benchmarks/tracking.csv --speed-csv benchmarks/tracking_speed.csv
"""

from __future__ import annotations

import argparse
import csv
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from ehrnet_tf.files import atomic_path
from ehrnet_tf.poses import Poses
from ehrnet_tf.smoothing import Smoother
from ehrnet_tf.tracking import Tracker

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
import walkers

RATES = (30, 10, 5)  # pictures a second
PEOPLE = (1, 5, 30)
PICTURES = 300  # of a sequence that is timed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--csv", type=Path, help="table to write")
    parser.add_argument("--speed-csv", type=Path, help="table of times to write")
    parser.add_argument("--seeds", type=int, default=20, help="sequences of each kind (%(default)s)")
    parser.add_argument("--rounds", type=int, default=10, help="of timing; 0: none (%(default)s)")
    arguments = parser.parse_args()

    print(
        f"{'sequence':18} {'fps':>3} {'poses':>6}  {'switches':>12}  {'idf1, %':>13}  {'jitter, px':>12}  "
        f"{'error, px':>12}  {'lag, ms':>7}"
    )
    rows = [quality(name, fps, arguments.seeds) for name in walkers.SEQUENCES for fps in RATES]
    write(rows, arguments.csv)
    if arguments.rounds:
        print("\npeople  pictures a second: tracked, smoothed, both")
        times = [speed(people, arguments.rounds) for people in PEOPLE]
        write(times, arguments.speed_csv)


def write(rows: list[dict], path: Path | None) -> None:
    if path:
        with atomic_path(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, rows[0])
            writer.writeheader()
            writer.writerows(rows)


def quality(name: str, fps: int, seeds: int) -> dict[str, object]:
    """The figures of one kind of sequence, before and after, over all seeds."""
    films = [walkers.sequence(name, fps, seed) for seed in range(seeds)]
    before, after = Score(), Score()
    for film in films:
        tracker, smoother = Tracker(walkers.COCO), Smoother()
        before.add(film, track(film, walkers.NearestCentre()))
        after.add(film, track(film, lambda p, t, one=tracker, two=smoother: two(one(p, t), t)))
    row = {"sequence": name, "fps": fps, "sequences": seeds, "poses": before.poses}
    for figure in ("switches", "idf1", "jitter", "error"):
        row[f"{figure}_before"] = getattr(before, figure)()
        row[f"{figure}_after"] = getattr(after, figure)()
    row["lag_ms"] = after.lag()
    print(
        f"{name:18} {fps:3} {before.poses:6}  {row['switches_before']:5} {row['switches_after']:6}  "
        f"{row['idf1_before']:6.1f} {row['idf1_after']:6.1f}  {row['jitter_before']:5.2f} {row['jitter_after']:6.2f}  "
        f"{row['error_before']:5.2f} {row['error_after']:6.2f}  {row['lag_ms']:7.1f}",
        flush=True,
    )
    return row


def track(film: walkers.Film, step: Callable[[Poses, float], Poses]) -> list[Poses]:
    return [step(poses, seconds) for poses, seconds in zip(film.frames, film.times, strict=True)]


class Score:
    """Sums over films."""

    def __init__(self) -> None:
        self.poses = 0
        self._switches = 0
        self._owned = 0.0
        self._changes: list[np.ndarray] = []
        self._errors: list[np.ndarray] = []
        self._late = self._speed = 0.0

    def add(self, film: walkers.Film, poses: list[Poses]) -> None:
        ids = [p.ids for p in poses]
        self._switches += walkers.id_switches(film.who, ids)
        self._owned += walkers.idf1(film.who, ids) * sum(map(len, ids))
        self.poses += sum(map(len, ids))
        last: dict[int, tuple[float, np.ndarray, np.ndarray]] = {}
        for seconds, people, who, truth in zip(film.times, poses, film.who, film.truth, strict=True):
            error = np.where(people.keypoints[:, :, 2:] > 0, people.keypoints[:, :, :2] - truth, np.nan)
            self._errors.append(error.ravel())
            for person, e, true in zip(who.tolist(), error, truth, strict=True):
                then, e0, true0 = last.get(person, (-1.0, e, true))
                last[person] = (seconds, e, true)
                if seconds - then < 1.5 / film.times[1]:  # in the picture before
                    self._changes.append((e - e0).ravel())
                    speed = (true - true0) / (seconds - then)
                    there = np.isfinite(e)
                    self._late -= (e * speed)[there].sum()
                    self._speed += np.square(speed)[there].sum()

    def switches(self) -> int:
        return int(self._switches)

    def idf1(self) -> float:
        return round(100 * self._owned / self.poses, 2)

    def jitter(self) -> float:
        return round(root_mean_square(self._changes), 3)

    def error(self) -> float:
        return round(root_mean_square(self._errors), 3)

    def lag(self) -> float:
        return round(1e3 * self._late / self._speed, 2) if self._speed else 0.0


def root_mean_square(parts: list[np.ndarray]) -> float:
    return float(np.sqrt(np.nanmean(np.square(np.concatenate(parts)))))


def speed(people: int, rounds: int) -> dict[str, object]:
    """Pictures a second in the best of some rounds."""
    rng = np.random.default_rng(people)
    crowd = [walkers.straight(rng, 40) for _ in range(people)]
    film = walkers.film(crowd, [i / 30 for i in range(PICTURES)], rng)
    tracking, smoothing = [], []
    for _ in range(rounds):
        begin = time.perf_counter()
        tracked = track(film, Tracker(walkers.COCO))
        middle = time.perf_counter()
        smoother = Smoother()
        for poses, seconds in zip(tracked, film.times, strict=True):
            smoother(poses, seconds)
        tracking.append(middle - begin)
        smoothing.append(time.perf_counter() - middle)
    seconds = [min(tracking), min(smoothing), min(map(sum, zip(tracking, smoothing, strict=True)))]
    rates = [round(PICTURES / s) for s in seconds]
    print(f"{people:6}  {rates[0]:26} {rates[1]:9} {rates[2]:5}", flush=True)
    return {"people": people, **dict(zip(("tracked", "smoothed", "both"), rates, strict=True)), **machine()}


def machine() -> dict[str, object]:
    """What the times were measured on."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines() if Path("/proc/cpuinfo").is_file() else []
    cpu = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), "unknown")
    return {"cpu": cpu, "cores": os.cpu_count()}


if __name__ == "__main__":
    main()
