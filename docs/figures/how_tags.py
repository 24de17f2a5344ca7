"""Tags made visible, and what the tag losses pull and push."""

from __future__ import annotations

import itertools
from pathlib import Path

import keras
import numpy as np
from how_maps import frame, on_picture, spread
from how_scene import Scene, made_up, tag_means
from how_style import GREY, INK, LEFT, PALE, RIGHT, TAG, new, person_color, save, show

from ehrnet_tf.data.targets import tag_joints
from ehrnet_tf.data.transforms import letterbox_matrix, warp_keypoints
from ehrnet_tf.runtime.estimator import PoseEstimator
from ehrnet_tf.training.losses import people_tags, pull_loss, push_loss


def draw_tags(out: Path, scene: Scene, keypoint: str = "left_shoulder") -> Path:
    """Draws how_tags.jpg: one keypoint's tag map, the joints' tags on the picture, and all of them on a line each."""
    keypoints = scene.estimator.keypoints
    k = keypoints.names.index(keypoint) if keypoint in keypoints.names else 0
    people, most = scene.grouped(), spread(scene)
    scale = {"cmap": TAG, "vmin": -most, "vmax": most}
    figure, grid = new(4.6, nrows=2, ncols=2, width_ratios=[1, 1.2])
    raw, joints = grid[:, 0]
    grid[1, 1].remove()
    strip = grid[0, 1]
    strip.set_subplotspec(strip.get_gridspec()[:, 1])

    show(raw, scene.picture, f"tag map of the {keypoints.names[k].replace('_', ' ')}")
    shown = raw.imshow(scene.maps["tags"][:, :, k], extent=frame(scene), **scale)
    here = scene.candidates()[k]
    raw.scatter(*on_picture(scene, here).T, s=60, facecolor="none", edgecolor=INK, lw=1.5)

    show(joints, scene.picture, "tags at the joints", 0.7)
    for person in scene.shown:
        there = people[person][people[person, :, 2] > 0]
        dots = joints.scatter(*on_picture(scene, there).T, c=there[:, 3], **scale, s=36, lw=1.4)
        dots.set_edgecolor(person_color(person))
    bar = figure.colorbar(shown, ax=[raw, joints], location="left", shrink=0.7, aspect=25)
    bar.set_label("tag")
    bar.outline.set_visible(False)

    means = tag_means(people)
    for person in scene.shown:
        there = people[person, :, 2] > 0
        strip.plot(people[person, there, 3], np.flatnonzero(there), "o", color=person_color(person), ms=5)
        strip.axvline(means[person], color=person_color(person), lw=1, zorder=0)
        strip.text(
            means[person], -1.1, f"{means[person]:.2f}", color=person_color(person), ha="center"
        ).set_backgroundcolor("white")
    strip.set_yticks(range(len(keypoints)), [name.replace("_", " ") for name in keypoints.names])
    strip.set(ylim=(len(keypoints) - 0.5, -1.6), xlabel="tag; lines: the people's means")
    strip.grid(axis="y", color=PALE)
    return save(figure, out / "how_tags.jpg")


def count_sides(estimator: PoseEstimator, pictures: int = 100) -> dict[str, float]:
    """Whether tags follow the place: over all pairs of people found in the first made-up pictures.

    Returns:
      "pairs"; "ordered", in how many the person further to the right has the higher mean tag; "distance", the median
      of the distances of mean tags.
    """
    ordered, distances = [], []
    for index in range(pictures):
        scene = Scene(made_up(index)[0], estimator)
        people = scene.grouped()[scene.shown]
        joints = people[:, :, 2] > 0
        places, tags = (people[:, :, 0] * joints).sum(axis=1) / joints.sum(axis=1), tag_means(people)
        for a, b in itertools.combinations(range(len(people)), 2):
            ordered.append((places[a] - places[b]) * (tags[a] - tags[b]) > 0)
            distances.append(abs(float(tags[a] - tags[b])))
    return {"pairs": len(ordered), "ordered": int(sum(ordered)), "distance": float(np.median(distances or [np.nan]))}


def truth(scene: Scene, annotations: list[dict]) -> np.ndarray:
    """(1, P, K, 3): the annotated people's x, y in cells of the tag map, v."""
    labels = [np.reshape(a["keypoints"], (-1, 3)) for a in annotations if any(a["keypoints"])]
    size = scene.prepared.size[0]
    moved = warp_keypoints(np.array(labels, float), letterbox_matrix(*scene.picture.shape[:2], size), size)
    stride = size / scene.maps["tags"].shape[0]
    return (moved / [stride, stride, 1])[None].astype(np.float32)


def draw_losses(out: Path, scene: Scene, annotations: list[dict]) -> tuple[Path, dict[str, tuple[float, float]]]:
    """Draws how_tag_losses.png: the push term's forms, and a picture's tags before and after training.

    Returns:
      the file, and pull and push ("exp") of the network "at random" and "trained".
    """
    figure, grid = new(2.9, ncols=3, width_ratios=[1, 1, 1])
    _draw_forms(grid[0, 0])
    keras.utils.set_random_seed(0)
    begun = keras.models.clone_model(scene.estimator.runner.model)
    begun = Scene(scene.picture, PoseEstimator(begun, keypoints=scene.estimator.keypoints))
    places, values = truth(scene, annotations), {}
    for axes, (name, seen_by) in zip(grid[0, 1:], {"at random": begun, "trained": scene}.items(), strict=True):
        tags = seen_by.maps["tags"][None]
        joints = np.asarray(tag_joints(places, *tags.shape[1:3], places.shape[1]))
        values[name] = float(pull_loss(joints, tags)[0]), float(push_loss(joints, tags)[0])
        at, flags, means, _ = (np.asarray(v)[0] for v in people_tags(joints, tags))
        for person, mean in enumerate(means):
            seen = at[person][flags[person] > 0]
            axes.plot(seen, np.full(len(seen), person), "o", color=INK, ms=5, alpha=0.5, mew=0)
            axes.plot([mean, mean], [person - 0.3, person + 0.3], color=RIGHT, lw=2.5)
        axes.set_yticks(range(len(means)), [f"person {p + 1}" for p in range(len(means))])
        axes.set(xlim=(-2, 2), ylim=(len(means) - 0.5, -0.5), xlabel="tag")
        axes.set_title(f"weights {name}\npull {values[name][0]:.3f}, push {values[name][1]:.3f}")
        axes.grid(axis="x", color=PALE)
    return save(figure, out / "how_tag_losses.png"), values


def _draw_forms(axes) -> None:
    """The cost of two people whose mean tags lie d apart."""
    distances = np.linspace(0, 3, 61, dtype=np.float32)
    for form, color in (("exp", LEFT), ("hinge", RIGHT)):
        axes.plot(distances, two_people(distances, form), color=color, lw=2, label=form)
    axes.axvline(1, color=GREY, ls=":", lw=1)
    axes.text(1.05, 0.29, "the decoder\njoins below 1", color=GREY)
    axes.set(title="push, two people", xlabel="distance of their mean tags", ylim=(0, 0.52))
    axes.legend()


def two_people(distances: np.ndarray, form: str) -> np.ndarray:
    """`push_loss` of pairs of people, of one joint each, whose tags lie ``distances`` (B,) apart."""
    tags = np.stack((np.zeros_like(distances), distances), axis=-1)[:, None, :, None]  # (B, 1, 2, 1)
    joints = np.tile(np.array([[[0, 1]], [[1, 1]]], np.int32), (len(distances), 1, 1, 1))  # (B, 2, 1, 2)
    return np.asarray(push_loss(joints, tags, form))
