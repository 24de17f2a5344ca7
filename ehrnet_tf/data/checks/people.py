"""Faults of single people: boxes, areas, keypoints, and the same person twice."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from ehrnet_tf.data.checks.annotations import Split
from ehrnet_tf.data.checks.findings import Case, Findings
from ehrnet_tf.filters import pairwise_oks
from ehrnet_tf.poses import Poses

_SLACK = {True: 0.1, False: 0.5}  # of the box's longer side: how far seen and hidden keypoints may lie beyond it,
_PIXELS = 3.0  # and so many pixels more (coco_mini: no keypoint does)
_EDGE = 1.0  # pixels by which a box may leave its picture
_SAME_PERSON = 0.9  # object keypoint similarity
_COMMON = 3  # keypoints that two people must share to be compared by it


def check_people(split: Split, max_people: int, findings: Findings) -> None:
    """Notes odd boxes and areas, odd keypoints, people annotated twice and pictures with more than ``max_people``."""
    if not split.labelled.any():
        text, remedy = "splits where nobody has a labelled keypoint", "label some; AP will be -1, and nothing is learnt"
        findings.note("error", "nobody_labelled", text, remedy, [Case("", detail=split.name)])
    _check_boxes(split, findings)
    _check_keypoints(split, findings)
    groups = list(people_by_picture(split))
    remedy = "remove one of the annotations"
    cases = [case for group in groups for case in _twice(split, group)]
    findings.note("warning", "person_twice", "people annotated twice", remedy, cases)
    crowded = [g for g in groups if split.labelled[g].any(axis=1).sum() > max_people]
    findings.note(
        "note",
        "many_people",
        f"pictures with more than data.max_people = {max_people} people (the tag loss leaves the rest out)",
        "raise data.max_people if there are many",
        (Case(split.case(g[0]).picture, detail=f"{split.labelled[g].any(axis=1).sum()} people") for g in crowded),
    )


def people_by_picture(split: Split) -> Iterator[np.ndarray]:
    """Indices of the people of each picture that has any."""
    groups: dict[object, list[int]] = {}
    for index, person in enumerate(split.people):
        groups.setdefault(person["image_id"], []).append(index)
    return map(np.array, groups.values())


def _note(
    findings: Findings, split: Split, check: str, text: str, remedy: str, wrong: np.ndarray, detail: Callable
) -> None:
    """A warning about the people for whom ``wrong`` (P,) holds; ``detail`` tells of each by index."""
    people = np.flatnonzero(wrong).tolist()
    findings.note("warning", check, text, remedy, (split.case(i, detail(i)) for i in people))


def _check_boxes(split: Split, findings: Findings) -> None:
    left, top, width, height = split.boxes.T
    finite = np.isfinite(split.boxes).all(axis=1)
    flat = ~finite | (width <= 0) | (height <= 0)
    outside = np.maximum.reduce(
        [-left, -top, left + width - split.sizes[:, 0], top + height - split.sizes[:, 1], np.zeros_like(left)]
    )
    x, y = split.points[:, :, 0], split.points[:, :, 1]
    beyond = np.maximum.reduce(
        [left[:, None] - x, top[:, None] - y, x - (left + width)[:, None], y - (top + height)[:, None]]
    )
    share = np.where(split.points[:, :, 2] == 2, _SLACK[True], _SLACK[False])
    astray = split.labelled & (beyond > share * np.maximum(width, height)[:, None] + _PIXELS)
    beyond = np.where(astray, beyond, 0).max(axis=1)
    areas = np.array([_area(person.get("area")) for person in split.people])

    def box(i: int) -> str:
        return "box " + ", ".join(f"{value:g}" for value in split.boxes[i])

    def size(i: int) -> str:
        return "picture {}x{}".format(*split.sizes[i])

    def report(check: str, text: str, wrong: np.ndarray, detail: Callable, remedy: str = "correct the box") -> None:
        _note(findings, split, check, text, remedy, wrong, detail)

    report("box_empty", "boxes missing or without extent", flat, box)
    report("box_outside", "boxes that leave the picture", ~flat & (outside > _EDGE), lambda i: f"{box(i)}, {size(i)}")
    text = "boxes that do not hold the person's keypoints"
    report("box_keypoints", text, ~flat & astray.any(axis=1), lambda i: f"a keypoint {beyond[i]:.0f} pixels beyond")
    remedy = "give the outline's area in square pixels"
    report("area_missing", "areas missing or not positive", ~(areas > 0), lambda i: f"area {areas[i]:g}", remedy)
    too_large = areas > split.sizes.prod(axis=1)
    text = "areas larger than the picture"
    report("area_large", text, too_large, lambda i: f"area {areas[i]:g}, {size(i)}", remedy)


def _area(value: object) -> float:
    return float(value) if isinstance(value, (int, float)) else float("nan")


def _check_keypoints(split: Split, findings: Findings) -> None:
    points, labelled = split.points, split.labelled
    names = split.keypoint_set.names
    count = labelled.sum(axis=1)
    outside = labelled & ~((points[:, :, :2] >= 0) & (points[:, :, :2] < split.sizes[:, None])).all(axis=2)
    odd = ~np.isin(points[:, :, 2], (0, 1, 2))
    given = np.array([p.get("num_keypoints", n) for p, n in zip(split.people, count, strict=True)], object)
    first = points[np.arange(len(points)), labelled.argmax(axis=1), :2]
    spread = np.abs(np.where(labelled[:, :, None], points[:, :, :2] - first[:, None], 0)).max(axis=(1, 2))
    ghosts = ((points[:, :, 2] == 0) & (points[:, :, :2] != 0).any(axis=2)).sum(axis=1)

    def named(flags: np.ndarray) -> Callable[[int], str]:
        return lambda i: ", ".join(
            f"{names[k]} ({points[i, k, 0]:g}, {points[i, k, 1]:g}, v {points[i, k, 2]:g})"
            for k in np.flatnonzero(flags[i]).tolist()
        )

    def report(check: str, text: str, wrong: np.ndarray, detail: Callable, remedy: str) -> None:
        _note(findings, split, check, text, remedy, wrong, detail)

    text = "people with keypoints outside the picture (ignored)"
    report("keypoint_outside", text, outside.any(axis=1), named(outside), "correct them, or v = 0")
    report(
        "visibility", "people with v other than 0, 1, 2", odd.any(axis=1), named(odd), "0 no label, 1 hidden, 2 seen"
    )
    text = "num_keypoints other than the keypoints with v > 0"
    counts = (given != count) & (len(split.keypoint_set.annotation_keys) == 1)  # with more lists it counts the first
    report(
        "num_keypoints", text, counts, lambda i: f"{given[i]}, labelled {count[i]}", "count anew: evaluation reads it"
    )
    one_point = (count > 1) & (spread < 0.5)
    report("one_point", "people whose keypoints all lie on one point", one_point, lambda i: f"{count[i]}", "label anew")
    findings.note(
        "note",
        "unlabelled_coordinates",
        "people with coordinates at keypoints of v = 0 (ignored)",
        "if they are meant, v = 1 or 2",
        (split.case(i, f"{ghosts[i]} keypoints") for i in np.flatnonzero(ghosts).tolist()),
    )


def _twice(split: Split, people: np.ndarray) -> Iterator[Case]:
    """The people of one picture that are very much like an earlier one of it."""
    people = people[split.labelled[people].any(axis=1)]
    if len(people) < 2:
        return
    points = np.where(split.labelled[people][:, :, None], split.points[people], 0)
    width, height = split.sizes[people[0]].tolist()
    alike = pairwise_oks(Poses(points, np.zeros(len(people)), split.keypoint_set, (height, width)))
    labelled = (points[:, :, 2] > 0).astype(int)
    same = (alike > _SAME_PERSON) & (labelled @ labelled.T >= _COMMON)
    same |= (points[:, None, :, :2] == points[None, :, :, :2]).all(axis=(2, 3))
    for a, b in np.argwhere(np.triu(same, 1)).tolist():
        yield split.case(people[b], f"like annotation {split.people[people[a]].get('id')}, OKS {alike[a, b]:.2f}")
