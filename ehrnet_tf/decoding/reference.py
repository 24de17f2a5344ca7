"""The published decoding procedure, written down step by step and plainly: slow.

What the other decoders are tested against and timed against. Source: HigherHRNet's `lib/core/group.py` (MIT).
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import linear_sum_assignment

from ehrnet_tf.decoding.decoder import DecoderSettings, grouping_order


def decode_plainly(
    heatmaps: np.ndarray,
    tags: np.ndarray,
    settings: DecoderSettings | None = None,
    grouping: tuple[int, ...] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Finds the people in one picture's maps; arguments and results as for `decoder.decode`, nothing is checked.

    Of equal candidates the one that comes first row by row goes first.
    """
    settings = settings or DecoderSettings()
    heat = np.moveaxis(np.asarray(heatmaps, np.float32), 2, 0)
    tag = np.asarray(tags, np.float32)
    tag = np.moveaxis(tag if tag.ndim == 4 else tag[..., None], 2, 0)  # (K, H, W, T)
    candidates = _candidates(_suppress(heat, settings.nms_kernel), tag, settings.max_people)
    people = _group(candidates, settings, grouping_order(grouping, len(heat)))
    scores = np.array([person[:, 2].mean() for person in people], np.float32)
    if settings.adjust:
        _adjust(people, heat)
    else:
        for person in people:
            person[person[:, 2] > 0, :2] += 0.5
    if settings.refine:
        people = [_refine(person, heat, tag) for person in people]
    return np.array(people, np.float32).reshape(len(people), len(heat), 3 + tag.shape[3]), scores


def _suppress(heat: np.ndarray, kernel: int) -> np.ndarray:
    """Sets every cell to 0 that is lower than the highest of the window round it."""
    reach = kernel // 2
    _, height, width = heat.shape
    padded = np.pad(heat, ((0, 0), (reach, reach), (reach, reach)), constant_values=-np.inf)
    highest = np.full_like(heat, -np.inf)
    for dy in range(kernel):
        for dx in range(kernel):
            highest = np.maximum(highest, padded[:, dy : dy + height, dx : dx + width])
    return np.where(heat == highest, heat, 0)


def _candidates(heat: np.ndarray, tag: np.ndarray, count: int) -> list[list[np.ndarray]]:
    """For every keypoint the ``count`` highest cells as x, y, heat, tags."""
    width = heat.shape[2]
    found = []
    for plane, plane_tags in zip(heat, tag, strict=True):
        cells = np.argsort(-plane.ravel(), kind="stable")[:count]
        found.append(
            [np.array([c % width, c // width, plane.flat[c], *plane_tags[c // width, c % width]]) for c in cells]
        )
    return found


def _group(candidates: list[list[np.ndarray]], settings: DecoderSettings, order: tuple[int, ...]) -> list[np.ndarray]:
    dimensions = len(candidates[0][0])
    people: list[np.ndarray] = []
    tags: list[list[np.ndarray]] = []

    def open_person(keypoint: int, joint: np.ndarray) -> None:
        person = np.zeros((len(candidates), dimensions))
        person[keypoint] = joint
        people.append(person)
        tags.append([joint[3:]])

    for keypoint in order:
        joints = [joint for joint in candidates[keypoint] if joint[2] > settings.threshold]
        if not joints:
            continue
        if not people:
            for joint in joints:
                open_person(keypoint, joint)
            continue
        means = [np.mean(own, axis=0) for own in tags[: settings.max_people]]
        distance = np.array([[np.linalg.norm(joint[3:] - mean) for mean in means] for joint in joints])
        cost = np.round(distance) * 100 - np.array([[joint[2]] for joint in joints])
        if len(joints) > len(means):
            cost = np.concatenate((cost, np.full((len(joints), len(joints) - len(means)), 1e10)), axis=1)
        for row, column in zip(*linear_sum_assignment(cost), strict=True):
            if column < len(means) and distance[row, column] < settings.tag_threshold:
                people[column][keypoint] = joints[row]
                tags[column].append(joints[row][3:])
            else:
                open_person(keypoint, joints[row])
    return people


def _adjust(people: list[np.ndarray], heat: np.ndarray) -> None:
    for person in people:
        for keypoint, joint in enumerate(person):
            if joint[2] > 0:
                joint[:2] = _quarter(heat[keypoint], int(joint[0]), int(joint[1]))


def _quarter(plane: np.ndarray, x: int, y: int) -> tuple[float, float]:
    """The cell's centre, moved by a quarter of a cell towards the higher neighbours."""
    height, width = plane.shape
    right = plane[y, min(x + 1, width - 1)] > plane[y, max(x - 1, 0)]
    below = plane[min(y + 1, height - 1), x] > plane[max(y - 1, 0), x]
    return x + 0.5 + (0.25 if right else -0.25), y + 0.5 + (0.25 if below else -0.25)


def _refine(person: np.ndarray, heat: np.ndarray, tag: np.ndarray) -> np.ndarray:
    """Looks for every joint in the whole map; the person keeps those that it has."""
    mean = np.mean([joint[3:] for joint in person if joint[2] > 0], axis=0).astype(np.float32)
    refined = person.copy()
    for keypoint, joint in enumerate(person):
        distance = np.sqrt(np.square(tag[keypoint] - mean).sum(axis=2))
        cell = np.argmax(heat[keypoint] - np.round(distance))
        y, x = divmod(int(cell), heat.shape[2])
        if joint[2] <= 0 and heat[keypoint, y, x] > 0:
            refined[keypoint, :3] = *_quarter(heat[keypoint], x, y), heat[keypoint, y, x]
    return refined
