"""Draws the sample picture and the sample video beside this file: made-up people, CC0, for the first steps.

    python docs/models/draw_samples.py

people.jpg is a picture as `ehrnet make-data --upright --max-people 2` draws them, of a seed that no training used;
its true keypoints are what `make_picture(**PICTURE)` gives besides. walk.mp4 shows two figures of the same kind who
walk past each other (it needs PyAV: pip install 'ehrnet-tf[video]').
"""

from pathlib import Path

import cv2
import numpy as np

from ehrnet_tf.data.synthetic import make_picture
from ehrnet_tf.data.synthetic.canvas import Canvas, random_material, segment
from ehrnet_tf.data.synthetic.figures import Figure
from ehrnet_tf.video.writer import VideoWriter

FOLDER = Path(__file__).parent
PICTURE = {"seed": 2026, "split": 1, "index": 6, "size": 480, "max_people": 2, "upright": True}
WIDTH, HEIGHT, FPS, SECONDS = 320, 240, 15, 3
WALKERS = (31, 12)  # seeds of figures whose pose is a stride
LIMBS = [(11, 13, 15, "toe"), (5, 7, 9, "hand")]  # of the left side: hip to toe, shoulder to hand


def walker(seed: int) -> Figure:
    """A figure who strides, drawn from the first seed from ``seed`` on that gives one."""
    while True:
        figure = Figure(np.random.default_rng(seed), upright=True)
        if figure.pose == "walk":
            return figure
        seed += 1


def stride(points: dict, share: float) -> dict:
    """The figure's points, its limbs between its own (share 0) and those of its mirror image (share 1)."""
    mirror = np.array([-1, 1, 1])
    moved = dict(points)
    for root, *joints, end in LIMBS:
        for side in (0, 1):
            own, other = points[root + side], points[root + 1 - side]
            names = [(joint + side, joint + 1 - side) for joint in joints] + [(f"{end}{side}", f"{end}{1 - side}")]
            for name, twin in names:
                mirrored = own + mirror * (points[twin] - other)
                moved[name] = (1 - share) * points[name] + share * mirrored
    return moved


def backdrop(rng: np.random.Generator) -> np.ndarray:
    """(H, W, 3) float32: a wall, a floor, and things that stand about."""
    image = np.full((HEIGHT, WIDTH, 3), (168, 176, 170), np.float32)
    image[int(0.72 * HEIGHT) :] = (122, 112, 98)
    noise = rng.standard_normal((30, 40, 1), np.float32)
    image += 7 * cv2.resize(noise, (WIDTH, HEIGHT))[:, :, None]
    canvas = Canvas(image, np.array([0, 0, 1]))
    for x in (38, 160, 281):
        segment(canvas, (x, -5), (x + 2, 0.75 * HEIGHT), (4, 4, 4), random_material(rng), HEIGHT)
    return cv2.GaussianBlur(canvas.image, (0, 0), 1.2)


def draw_walk(path: Path) -> None:
    """Two people cross the picture in opposite directions, one behind the other."""
    rng = np.random.default_rng(3)
    behind = backdrop(rng)
    people = [walker(seed) for seed in WALKERS]
    points = [person.points for person in people]
    light = np.array([0.3, -0.5, 1]) / np.linalg.norm([0.3, -0.5, 1])
    with VideoWriter(path, FPS) as video:
        for number in range(FPS * SECONDS):
            seconds = number / FPS
            canvas = Canvas(behind.copy(), light)
            for k, person in enumerate(people):
                person.points = stride(points[k], 0.5 + 0.5 * np.sin(2 * np.pi * seconds + k))
                way = seconds / SECONDS if k else 1 - seconds / SECONDS
                stature = (0.84, 0.58)[k] * HEIGHT
                person.place((WIDTH * (0.2 + 0.6 * way), HEIGHT * (0.5, 0.65)[k]), stature, k + 1)
                person.draw(canvas)
            image = canvas.image + rng.standard_normal(canvas.image.shape, np.float32) * 2
            video.write(np.clip(np.rint(image), 0, 255).astype(np.uint8), seconds)


def main() -> None:
    image, _ = make_picture(**PICTURE)
    cv2.imwrite(str(FOLDER / "people.jpg"), image[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, 88])
    draw_walk(FOLDER / "walk.mp4")
    for name in ("people.jpg", "walk.mp4"):
        print(f"{FOLDER / name}: {(FOLDER / name).stat().st_size / 1024:.0f} KiB")


if __name__ == "__main__":
    main()
