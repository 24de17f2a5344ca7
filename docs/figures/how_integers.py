"""What integers make of the maps: the float network's and an int8 file's, and their difference."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from how_maps import frame
from how_scene import Scene
from how_style import HEAT, LEFT, PALE, RIGHT, bare, new, save


def draw(out: Path, scene: Scene, integer: Scene) -> tuple[Path, dict[str, float]]:
    """Draws how_integers.jpg.

    Returns:
      the file, and what the page tells: "levels", the different values of the int8 file's heat-maps in this picture;
      "mean" and "largest", the absolute difference of the heat-maps within the picture.
    """
    top, left, bottom, right = scene.region
    whole, rounded = scene.heat[top:bottom, left:right], integer.heat[top:bottom, left:right]
    keypoint = int(whole.max(axis=(0, 1)).argmax())
    row = top + int(whole[:, :, keypoint].max(axis=1).argmax())
    found = {
        "levels": len(np.unique(integer.heat)),
        "mean": float(np.abs(whole - rounded).mean()),
        "largest": float(np.abs(whole - rounded).max()),
    }
    height, width = scene.picture.shape[:2]
    figure, grid = new(2 * (3.9 * height / width) + 0.5, nrows=2, ncols=2)
    most = np.ceil(100 * found["largest"]) / 100
    for axes, heat, title in (
        (grid[0, 0], scene.heat.max(axis=2), "float32"),
        (grid[0, 1], integer.heat.max(axis=2), f"int8: {found['levels']} levels"),
    ):
        axes.imshow(heat, cmap=HEAT, vmin=0, vmax=1, extent=frame(scene))
        axes.set(xlim=(0, width), ylim=(height, 0))
        bare(axes, title)
    each = integer.heat - scene.heat
    strongest = np.take_along_axis(each, np.abs(each).argmax(axis=2)[..., None], axis=2)[..., 0]
    shown = grid[1, 0].imshow(strongest, cmap="RdBu_r", vmin=-most, vmax=most, extent=frame(scene))
    grid[1, 0].set(xlim=(0, width), ylim=(height, 0))
    bare(grid[1, 0], "int8 less float32, the channel that differs most")
    inset = grid[1, 0].inset_axes([0.28, 0.93, 0.44, 0.04])
    bar = figure.colorbar(shown, cax=inset, orientation="horizontal", ticks=[-most, 0, most])
    bar.outline.set_visible(False)
    profile, cells = grid[1, 1], np.arange(left, right) + 0.5
    profile.step(cells, integer.heat[row, left:right, keypoint], where="mid", color=RIGHT, lw=1.5, label="int8")
    profile.plot(cells, scene.heat[row, left:right, keypoint], "o", color=LEFT, ms=3, label="float32")
    name = scene.estimator.keypoints.names[keypoint].replace("_", " ")
    profile.set(title=f"one row, {name}", xlabel="cells")
    profile.grid(axis="y", color=PALE)
    profile.legend()
    return save(figure, out / "how_integers.jpg"), found
