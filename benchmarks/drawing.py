"""How many pictures a second are drawn on and anonymised, and, with --data, how many heads are covered.

    python benchmarks/drawing.py [--data DIR] [--picture docs/images/drawing.jpg]

People of random size are strewn over noise; the copy of the picture counts. The figure is that of the median call, in
brackets of the fastest. Heads: people of DIR's val2017 who have a labelled nose, eye or ear; counted as covered if all
of these lie where `anonymise` covers. Keypoints that are withheld from it tell how well it estimates.
The picture shows made-up people, drawn and covered.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np

from ehrnet_tf.anonymise import HOW, Head, anonymise, heads
from ehrnet_tf.benchmark import machine
from ehrnet_tf.data.coco import read_records
from ehrnet_tf.data.synthetic.scene import make_picture
from ehrnet_tf.drawing import draw_poses
from ehrnet_tf.files import atomic_path
from ehrnet_tf.keypoints import load

COCO = load("coco")
SIZES = (480, 640), (1080, 1920)
PEOPLE = 1, 5, 30
# x and y of someone who stands upright, in units of the stature, in the order of COCO's keypoints
STANDING = np.array(
    [(0, 0.08), (0.02, 0.06), (-0.02, 0.06), (0.04, 0.07), (-0.04, 0.07), (0.1, 0.2), (-0.1, 0.2), (0.16, 0.35)]
    + [(-0.16, 0.35), (0.18, 0.5), (-0.18, 0.5), (0.07, 0.5), (-0.07, 0.5), (0.08, 0.73), (-0.08, 0.73)]
    + [(0.08, 0.95), (-0.08, 0.95)]
)
FACE, SHOULDERS, HIPS = slice(0, 5), slice(5, 7), slice(11, 13)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="a folder in COCO's layout; without it only speed is measured")
    parser.add_argument("--picture", type=Path, help="file for a picture of what is drawn; then nothing is measured")
    parser.add_argument("--rounds", type=int, default=40, help="calls of each kind (%(default)s)")
    arguments = parser.parse_args()
    if arguments.picture:
        return show(arguments.picture)
    described = machine.describe()
    print(f"{described['cpu']}, {described['cores']} cores; OpenCV {cv2.__version__}, Python {described['python']}")
    default = cv2.getNumThreads()
    for threads in (1, default):
        cv2.setNumThreads(threads)
        for size in SIZES:
            for people in PEOPLE:
                measured = speeds(size, people, arguments.rounds)
                row = "  ".join(f"{name} {median:6.1f} ({best:6.1f})" for name, (median, best) in measured.items())
                print(f"{size[1]}x{size[0]}, {people:2} people, {threads} threads: {row}", flush=True)
    if arguments.data:
        for name, covered, number in coverage(arguments.data):
            print(f"{name:45} {covered:4} of {number:4} heads, {100 * covered / number:.1f} %")


def show(path: Path) -> None:
    """Writes a picture of made-up people, drawn with ids and boxes, blurred and pixelated."""
    image, annotations = make_picture(seed=4, split=0, index=7, size=480, max_people=5)
    people = [annotation["keypoints"] for annotation in annotations if annotation["num_keypoints"]]
    people = np.array(people, np.float32).reshape(-1, len(COCO), 3)
    people[:, :, 2] *= np.random.default_rng(0).uniform(0.2, 0.5, people.shape[:2])
    ids = [f"{number}" for number in range(1, len(people) + 1)]
    drawn = draw_poses(image, people, COCO, labels=ids, boxes=True)
    tiles = [drawn, *(draw_poses(anonymise(image, people, COCO, how), people, COCO) for how in HOW)]
    with atomic_path(path) as temporary:
        cv2.imwrite(str(temporary), cv2.cvtColor(np.hstack(tiles), cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 80])


def speeds(size: tuple[int, int], people: int, rounds: int) -> dict[str, tuple[float, float]]:
    """Pictures a second of each kind of drawing: of the median call and of the fastest."""
    rng = np.random.default_rng(people)
    image = rng.integers(0, 256, (*size, 3), dtype=np.uint8)
    joints = np.zeros((people, len(COCO), 3), np.float32)
    for person in joints:
        stature = size[0] * rng.uniform(0.3, 0.8)
        person[:, :2] = STANDING * stature + rng.uniform((0, 0), (size[1], size[0] - stature))
        person[:, 2] = rng.uniform(0.3, 1, len(COCO))
    labels = [f"{number}" for number in range(people)]
    calls: dict[str, Callable[[], object]] = {
        "draw": lambda: draw_poses(image, joints, COCO, labels=labels),
        "with boxes": lambda: draw_poses(image, joints, COCO, labels=labels, boxes=True),
        "blur": lambda: anonymise(image, joints, COCO, "blur"),
        "pixelate": lambda: anonymise(image, joints, COCO, "pixelate"),
    }
    spent: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            spent[name].append(time.perf_counter() - start)
    return {name: (1 / statistics.median(times), 1 / min(times)) for name, times in spent.items()}


def coverage(data: Path) -> Iterator[tuple[str, int, int]]:
    """(what is given, heads covered, heads) for several choices of keypoints that are withheld."""
    records = list(read_records(data, "val2017", COCO, annotated_only=True))
    truth = [(blank(r.height, r.width), person) for r in records for person in r.keypoints]
    truth = [(image, person) for image, person in truth if (person[FACE, 2] > 0).any()]
    yield "everything", *count(truth, lambda person: [])
    for k in range(FACE.stop):
        several = [pair for pair in truth if pair[1][k, 2] > 0 and (pair[1][FACE, 2] > 0).sum() > 1]
        yield f"all but the {COCO.names[k]}", *count(several, lambda person, k=k: [k])
    faceless = list(range(FACE.stop))
    yield "no keypoint of the head", *count(truth, lambda person: faceless)
    choices = {
        "  of these, a shoulder labelled": lambda person: (person[SHOULDERS, 2] > 0).any(),
        "  of these, both shoulders labelled": lambda person: (person[SHOULDERS, 2] > 0).all(),
        "  of these, both shoulders and a hip": lambda p: (p[SHOULDERS, 2] > 0).all() and (p[HIPS, 2] > 0).any(),
    }
    for name, chosen in choices.items():
        yield name, *count([pair for pair in truth if chosen(pair[1])], lambda person: faceless)


def count(truth: list[tuple[np.ndarray, np.ndarray]], withheld: Callable[[np.ndarray], list[int]]) -> tuple[int, int]:
    """How many heads are covered, and how many there are."""
    covered = 0
    for image, person in truth:
        given = person.copy()
        given[withheld(person), 2] = 0
        found = heads(image, given[None], COCO)
        labelled = person[FACE][person[FACE, 2] > 0, :2]
        covered += bool(found) and all(inside(found[0], point) for point in labelled)
    return covered, len(truth)


def blank(height: int, width: int) -> np.ndarray:
    """A black picture that needs no memory."""
    return np.broadcast_to(np.uint8(0), (height, width, 3))


def inside(head: Head, point: np.ndarray) -> bool:
    return bool((np.hypot(*(head.discs[:, :2] - point).T) <= head.discs[:, 2]).any())


if __name__ == "__main__":
    main()
