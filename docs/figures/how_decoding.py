"""The live decoder step by step, by its own functions on a network's maps."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from how_maps import on_picture, spread
from how_scene import Scene, tag_means
from how_style import GREY, HEAT, INK, PALE, TAG, new, person_color, save, show
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from ehrnet_tf.decoding.decoder import tag_distance
from ehrnet_tf.decoding.live import FIT, LOWEST, fit


def draw_steps(out: Path, scene: Scene) -> Path:
    """Draws how_decoding.jpg: letterbox, peaks, candidates, groups, refinement, people."""
    height, width = scene.picture.shape[:2]
    figure, grid = new(2 * (8 / 3 * height / width + 0.45), nrows=2, ncols=3)
    _letterbox(grid[0, 0], scene)
    _peaks(grid[0, 1], scene, most_candidates(scene))
    _candidates(grid[0, 2], scene)
    _groups(grid[1, 0], scene)
    _refinement(grid[1, 1], scene)
    show(grid[1, 2], scene.drawn(), f"6. in the picture: {len(scene.poses)} people")
    return save(figure, out / "how_decoding.jpg")


def most_candidates(scene: Scene) -> int:
    """The keypoint with the most candidates."""
    return int(np.argmax([len(found) for found in scene.candidates()]))


def _letterbox(axes: Axes, scene: Scene) -> None:
    box, size = scene.prepared.box, scene.prepared.size
    show(axes, scene.input, f"1. letterbox: ×{box.scale:.2g}, +{box.dx:g}, +{box.dy:g}")
    top, left, bottom, right = (scene.stride * side for side in scene.region)
    axes.add_patch(Rectangle((left, top), right - left, bottom - top, fill=False, edgecolor="white", lw=1.5))
    axes.text(size[1] / 2, size[0] - 2, "padding counts as empty", color="white", ha="center", va="bottom")


def _peaks(axes: Axes, scene: Scene, keypoint: int) -> None:
    """One keypoint's heat-map with the windows of its peaks."""
    settings, name = scene.estimator.settings, scene.estimator.keypoints.names[keypoint]
    height, width = scene.heat.shape[:2]
    top, left, bottom, right = scene.region
    axes.imshow(scene.heat[:, :, keypoint], cmap=HEAT, extent=(0, width, height, 0), vmin=0, vmax=1)
    side = settings.nms_kernel
    peaks = scene.candidates(adjust=False)[keypoint]
    for x, y, heat, _ in peaks:
        axes.add_patch(Rectangle((x - side / 2, y - side / 2), side, side, fill=False, edgecolor="white", lw=1))
        below = any(abs(x - other[0]) < 8 and 0 < y - other[1] < 9 for other in peaks)  # where another is above it
        at, align = (y + side / 2 + 0.3, "top") if below else (y - side / 2 - 0.3, "bottom")
        axes.text(x, at, f"{heat:.2f}", color="white", ha="center", va=align)
    axes.set(xlim=(left, right), ylim=(bottom, top), xticks=[], yticks=[])
    axes.set_title(f"2. peaks of the {name.replace('_', ' ')}")


def _candidates(axes: Axes, scene: Scene) -> None:
    joints, most = np.concatenate(scene.candidates()), spread(scene)
    show(axes, scene.picture, f"3. {len(joints)} candidates with tags", 0.7)
    axes.scatter(
        *on_picture(scene, joints).T, c=joints[:, 3], cmap=TAG, vmin=-most, vmax=most, s=22, edgecolor="black", lw=0.5
    )


def _groups(axes: Axes, scene: Scene) -> None:
    people = scene.grouped()
    show(axes, scene.picture, f"4. groups; ×: {len(people) - len(scene.shown)} left out", 0.7)
    for person, joints in enumerate(people):
        kept = person in scene.shown
        _skeleton(axes, scene, joints, person_color(person) if kept else GREY, "o" if kept else "x")


def _skeleton(axes: Axes, scene: Scene, joints: np.ndarray, color: str, marker: str) -> None:
    """A person (K, 4), in cells, as lines on the picture."""
    places, there = on_picture(scene, joints), joints[:, 2] > 0
    for a, b in scene.estimator.keypoints.skeleton:
        if there[a] and there[b]:
            axes.plot(*places[[a, b]].T, color=color, lw=1.5)
    axes.plot(*places[there].T, marker, color=color, ms=4)


def refined(scene: Scene) -> list[tuple[int, int]]:
    """(person, keypoint) of the joints that only refinement finds, of people who are shown."""
    before, (after, _) = scene.grouped(), scene.decode()
    found = np.argwhere((before[:, :, 2] <= 0) & (after[:, :, 2] > 0))
    return [(int(p), int(k)) for p, k in found if p in scene.shown]


def worth(scene: Scene, person: int, keypoint: int) -> np.ndarray:
    """What refinement looks for the maximum of: heat - round(tag distance), at the heat-maps' cells; NaN: no heat."""
    heat, tags = scene.heat[:, :, keypoint], scene.maps["tags"][:, :, keypoint]
    factor = heat.shape[0] // tags.shape[0]
    tags = tags.repeat(factor, axis=0).repeat(factor, axis=1)
    mean = tag_means(scene.grouped())[person]
    distance = tag_distance(np.array([[mean]], np.float32), tags.reshape(-1, 1)).reshape(heat.shape)
    return np.where(heat > scene.estimator.settings.threshold, heat - np.rint(distance), np.nan)


def _refinement(axes: Axes, scene: Scene) -> None:
    """The first joint that refinement finds, in what it looks at."""
    found = refined(scene)
    if not found:
        show(axes, scene.picture, "5. refinement: nothing lacking", 0.7)
        return
    person, keypoint = found[0]
    name = scene.estimator.keypoints.names[keypoint].replace("_", " ")
    height, width = scene.heat.shape[:2]
    top, left, bottom, right = scene.region
    shown = axes.imshow(
        worth(scene, person, keypoint), cmap="cividis", vmin=-2, vmax=1, extent=(0, width, height, 0), zorder=1
    )
    box = scene.prepared.box
    corners = box.to_input(np.array([(0, 0), box.image_size[::-1]])) / scene.stride
    paper = 1 - 0.3 * (1 - scene.picture.mean(axis=2) / 255)
    axes.imshow(paper, cmap="gray", vmin=0, vmax=1, extent=(corners[0, 0], corners[1, 0], corners[1, 1], corners[0, 1]))
    after, _ = scene.decode()
    x, y, heat = after[person, keypoint, :3]
    axes.plot(x, y, "o", ms=13, mfc="none", color=person_color(person), mew=2, zorder=3)
    ground = {"facecolor": "white", "edgecolor": "none", "pad": 1.5}
    axes.annotate(f"heat {heat:.2f}", (x, y), (10, 9), textcoords="offset points", bbox=ground, zorder=3)
    axes.set(xlim=(left, right), ylim=(bottom, top), xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
    axes.set_title(f"5. refinement: a {name}")
    bar = axes.figure.colorbar(shown, cax=axes.inset_axes([0.52, 0.9, 0.42, 0.05]), orientation="horizontal")
    bar.outline.set_visible(False)


def draw_grouping(out: Path, scene: Scene) -> Path:
    """Draws how_grouping.png: tags in the order of the visit, and the people's mean tags as they grow."""
    keypoints, settings = scene.estimator.keypoints, scene.estimator.settings
    people = scene.grouped()
    figure, grid = new(3.6)
    axes = grid[0, 0]
    means = np.full((len(keypoints), len(people)), np.nan)
    for step in range(len(keypoints)):
        now = scene.grouped(step + 1)
        means[step, : len(now)] = tag_means(now)
    steps = np.arange(len(keypoints))
    for person in range(len(people)):
        kept = person in scene.shown
        color = person_color(person) if kept else GREY
        there = people[person, list(keypoints.grouping), 2] > 0
        tags = people[person, list(keypoints.grouping), 3]
        axes.plot(steps[there], tags[there], "o" if kept else "x", color=color, ms=6, zorder=3)
        if kept:
            axes.plot(steps, means[:, person], color=color, lw=1.5)
            low, high = means[:, person] - settings.tag_threshold, means[:, person] + settings.tag_threshold
            axes.fill_between(steps, low, high, color=color, alpha=0.1, lw=0)
    axes.plot([], [], "x", color=GREY, label="opened a person of its own, left out for a low score")
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1))
    names = [keypoints.names[k].replace("_", " ") for k in keypoints.grouping]
    axes.set_xticks(steps, names, rotation=40, ha="right", rotation_mode="anchor")
    axes.set(ylabel=f"tag; lines: mean so far,\nbands: ± {settings.tag_threshold:g}", xlim=(-0.4, len(steps) - 0.6))
    axes.grid(axis="x", color=PALE)
    return save(figure, out / "how_grouping.png")


def draw_subpixel(out: Path, scene: Scene) -> tuple[Path, np.ndarray]:
    """Draws how_subpixel.png: the 3x3 cells round the highest peak, the fitted quadratic, and where the joint is put.

    Returns:
      the file, and the peak's offset (x, y) from the cell's centre, in cells.
    """
    before, after = (np.concatenate(scene.candidates(adjust)) for adjust in (False, True))
    names = np.repeat(scene.estimator.keypoints.names, [len(found) for found in scene.candidates()])
    keypoints = np.repeat(np.arange(len(scene.estimator.keypoints)), [len(found) for found in scene.candidates()])
    offsets = after[:, :2] - before[:, :2]
    certain = np.where(before[:, 2] > 0.5 * before[:, 2].max(), np.abs(offsets).max(axis=1), 0)
    chosen = int(np.argmax(np.where(certain <= 0.5, certain, 0)))  # one that shows something
    column, row = before[chosen, :2].astype(int)
    plane = scene.heat[:, :, keypoints[chosen]]
    window = np.pad(plane, 1, mode="edge")[row : row + 3, column : column + 3]
    offset = fit(window[None])[0]

    figure, grid = new(3.3, ncols=2, width_ratios=[1, 1.1])
    cells, profile = grid[0]
    cells.imshow(window, cmap=HEAT, extent=(-1.5, 1.5, 1.5, -1.5), vmin=0, vmax=1)
    for i, j in np.ndindex(3, 3):
        light = window[i, j] < 0.6
        cells.text(j - 1, i - 0.7, f"{window[i, j]:.2f}", ha="center", color="white" if light else INK)
    cells.plot(0, 0, "s", color="white", mec=INK, ms=6, label="the cell's centre")
    cells.plot(*offset, "P", color=person_color(2), ms=10, label="the fit's maximum")
    cells.set(xticks=[-1, 0, 1], yticks=[-1, 0, 1], xlabel="cells")
    cells.legend(loc="upper center", bbox_to_anchor=(0.5, -0.25), ncols=2, handletextpad=0.1, columnspacing=1)
    cells.set_title(f"{names[chosen].replace('_', ' ')}: offset {offset[0]:+.2f}, {offset[1]:+.2f}")

    xs = np.linspace(-1.5, 1.5, 121)
    profile.bar([-1, 0, 1], window[1], 1, color=PALE, edgecolor="white", label="the row's cells")
    curve = row_curve(window)
    profile.plot(xs, curve(xs), color=person_color(2), lw=2, label="exp of the quadratic")
    profile.axvline(offset[0], ymax=0.78, color=person_color(2), ls="--", lw=1)
    profile.set(xlabel="x from the cell's centre, cells", ylabel="heat", ylim=(0, 1.35 * float(window.max())))
    profile.legend(loc="upper center", ncols=2)
    return save(figure, out / "how_subpixel.png"), offset


def row_curve(window: np.ndarray):
    """The fitted quadratic of the logarithms, cut along x through its maximum, as a function of x: heat.

    It is set up from `fit`'s slopes and curvatures, and its level is the mean of what it was fitted to.
    """
    logs = np.log(np.maximum(window, LOWEST * window[1, 1])).reshape(9)
    b, c, d, e, f = logs @ FIT
    x, y = np.tile([-1, 0, 1], 3), np.repeat([-1, 0, 1], 3)
    level = (logs - (b * x + c * y + d * x * x / 2 + e * y * y / 2 + f * x * y)).mean()
    top = float(fit(window[None])[0, 1])

    def curve(at: np.ndarray) -> np.ndarray:
        return np.exp(level + b * at + c * top + d * at * at / 2 + e * top * top / 2 + f * at * top)

    return curve
