"""The task in one row, and all heat-maps on a picture."""

from __future__ import annotations

from pathlib import Path

import matplotlib
import numpy as np
from how_scene import Scene
from how_style import HEAT, TAG, new, save, show
from matplotlib.axes import Axes


def frame(scene: Scene) -> tuple[float, float, float, float]:
    """The extent (left, right, bottom, top) of maps in the picture's pixels."""
    height, width = scene.prepared.size
    (left, top), (right, bottom) = scene.prepared.box.to_image(np.array([(0, 0), (width, height)]))
    return left, right, bottom, top


def overlay(axes: Axes, scene: Scene, heat: np.ndarray) -> None:
    """Lays a map (h, w) over the picture, opaque where it is hot."""
    colors = matplotlib.colormaps[HEAT](np.clip(heat, 0, 1))
    colors[..., 3] = np.clip(2.5 * heat, 0, 1)
    axes.imshow(colors, extent=frame(scene), interpolation="nearest")


def spread(scene: Scene) -> float:
    """The tag at which the colour scale ends: the largest of the people's joints, rounded up to 0.1."""
    tags = np.abs(np.concatenate(scene.candidates())[:, 3])
    return max(0.1, float(np.ceil(10 * np.quantile(tags, 0.98)) / 10)) if len(tags) else 1.0


def on_picture(scene: Scene, people: np.ndarray) -> np.ndarray:
    """(..., 2+): x, y of joints in cells of the heat-maps → (..., 2) in pixels of the picture."""
    return scene.prepared.box.to_image(people[..., :2] * scene.stride)


def draw_task(out: Path, scene: Scene) -> Path:
    """Draws how_task.jpg: picture, heat-maps, tags, people, with the shapes of what each of them is."""
    picture, maps = scene.picture, scene.maps
    figure, grid = new(1.95 * picture.shape[0] / picture.shape[1] + 0.52, ncols=4)
    axes = grid[0]
    show(axes[0], picture, f"pixels\n{scene.input.shape}")
    show(axes[1], picture, f"heat-maps: where\n{maps['heatmaps_2'].shape}", 0.45)
    overlay(axes[1], scene, scene.heat.max(axis=2))
    show(axes[2], picture, f"tags: whose\n{maps['tags'].shape}", 0.65)
    joints = np.concatenate(scene.candidates())
    most = spread(scene)
    axes[2].scatter(
        *on_picture(scene, joints).T, c=joints[:, 3], cmap=TAG, vmin=-most, vmax=most, s=16, edgecolor="black", lw=0.5
    )
    show(axes[3], scene.drawn(), f"people\n{scene.poses.keypoints.shape}")
    return save(figure, out / "how_task.jpg")


def draw_heatmaps(out: Path, scene: Scene) -> Path:
    """Draws how_heatmaps.jpg: every keypoint's heat-map at 1/2 over the picture."""
    names = scene.estimator.keypoints.names
    rows = -(-(len(names) + 1) // 6)
    height, width = scene.picture.shape[:2]
    figure, grid = new(rows * (7.7 / 6 * height / width + 0.27), nrows=rows, ncols=6)
    for k, axes in enumerate(grid.flat):
        if k < len(names):
            show(axes, scene.picture, names[k].replace("_", " "), 0.6)
            overlay(axes, scene, scene.heat[:, :, k])
        elif k == len(names):
            show(axes, scene.picture, "the picture")
        else:
            axes.set_visible(False)
    return save(figure, out / "how_heatmaps.jpg")
