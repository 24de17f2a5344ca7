"""What training shows the network: augmented pictures, targets and the mask."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from how_style import HEAT, INK, LEFT, PALE, RIGHT, bare, new, save, show

from ehrnet_tf import keypoints as keypoint_sets
from ehrnet_tf.config import AugmentConfig
from ehrnet_tf.data import transforms
from ehrnet_tf.data.targets import gaussian_heatmaps
from ehrnet_tf.drawing import draw_poses

SIZE = 256  # pixels of the network's input in these figures
SEEDS = (3, 4, 7, 11)  # of the augmentations shown
COCO = keypoint_sets.load("coco")


def labels(annotations: Sequence[dict]) -> np.ndarray:
    """(P, K, 3): x, y, v of the annotated people, picture pixels."""
    return np.array([np.reshape(a["keypoints"], (-1, 3)) for a in annotations], float)


def augmented(picture: np.ndarray, people: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A training sample as `data.samples` makes it: picture (S, S, 3), people (P, K, 3), mask (S / 2, S / 2)."""
    height, width = picture.shape[:2]
    rng = np.random.default_rng(seed)
    matrix, mirrored = transforms.random_matrix(height, width, SIZE, AugmentConfig(), rng)
    if mirrored:
        people = transforms.mirror_keypoints(people, COCO.flip_order)
    known = np.full((height, width), 255, np.uint8)
    return (
        transforms.warp_picture(picture, matrix, SIZE),
        transforms.warp_keypoints(people, matrix, SIZE),
        transforms.warp_mask(known, matrix / 2, SIZE // 2),
    )


def draw_augmentation(out: Path, picture: np.ndarray, annotations: Sequence[dict]) -> Path:
    """Draws how_augmentation.jpg: one picture and what augmentation makes of it, labels drawn."""
    people = labels(annotations)
    figure, grid = new(1.88, ncols=1 + len(SEEDS))
    height, width = picture.shape[:2]
    offset = (width - height) / 2
    square = np.pad(picture, ((int(offset), int(np.ceil(offset))), (0, 0), (0, 0)), constant_values=255)
    moved = people + [0, int(offset), 0]
    show(grid[0, 0], _drawn(square, moved), "the picture")
    for axes, seed in zip(grid[0, 1:], SEEDS, strict=True):
        warped, found, _ = augmented(picture, people, seed)
        show(axes, _drawn(warped, found), f"seed {seed}")
    return save(figure, out / "how_augmentation.jpg")


def _drawn(picture: np.ndarray, people: np.ndarray) -> np.ndarray:
    return draw_poses(picture, people * [1, 1, 0.5], COCO)


def draw_targets(out: Path, picture: np.ndarray, annotations: Sequence[dict]) -> tuple[Path, np.ndarray]:
    """Draws how_targets.jpg: a sample, its targets and mask, and the two ways to place a Gaussian.

    Returns:
      the file, and the targets at 1/2 (S / 2, S / 2, K).
    """
    warped, people, mask = augmented(picture, labels(annotations), SEEDS[2])
    at_2 = (people * [0.5, 0.5, 1])[None].astype(np.float32)
    side = SIZE // 2
    wanted = gaussian_heatmaps(at_2, side, side).numpy()[0]
    figure, grid = new(2.35, ncols=4, width_ratios=[1, 1, 1, 1.25])
    axes = grid[0]
    show(axes[0], warped, f"sample {warped.shape}")
    axes[1].imshow(wanted.max(axis=2), cmap=HEAT, vmin=0, vmax=1, extent=(0, side, side, 0))
    bare(axes[1], f"targets {wanted.shape}")
    axes[2].imshow(mask > 0, cmap="gray", extent=(0, side, side, 0))
    bare(axes[2], f"mask {mask.shape}")
    axes[2].spines[:].set_visible(True)
    _profiles(axes[3])
    return save(figure, out / "how_targets.jpg"), wanted


def _profiles(axes) -> None:
    """A row of both kinds of targets for a keypoint that does not lie in the middle of its cell."""
    place, cells = 9.85, 20
    keypoint = np.array([[[[place, 0.5, 2]]]], np.float32)
    for subpixel, color, label in ((False, LEFT, "cell's centre"), (True, RIGHT, "data.subpixel")):
        row = gaussian_heatmaps(keypoint, 1, cells, subpixel=subpixel).numpy()[0, 0, :, 0]
        axes.plot(np.arange(cells) + 0.5, row, "o-", color=color, ms=3, lw=1.2, label=label)
    axes.plot([place, place], [0, 1.08], ":", color=INK, lw=1)
    axes.set(title="a row of a target", ylim=(0, 1.6), xlabel="cells", yticks=[0, 0.5, 1])
    axes.grid(axis="y", color=PALE)
    axes.legend(loc="upper center", handlelength=1)
