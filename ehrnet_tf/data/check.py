"""Finds a data set's faults before a training does: `check_data` looks, `report_text` tells. No tensorflow here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ehrnet_tf import keypoints as keypoint_sets
from ehrnet_tf.data.checks.annotations import Split, read_split
from ehrnet_tf.data.checks.duplicates import check_duplicates
from ehrnet_tf.data.checks.files import check_files
from ehrnet_tf.data.checks.findings import LEVELS, Findings
from ehrnet_tf.data.checks.people import check_people, people_by_picture
from ehrnet_tf.data.checks.sides import check_sides
from ehrnet_tf.errors import DataError, UsageError
from ehrnet_tf.keypoints import KeypointSet

_PREFIX = "person_keypoints_"
_SHOWN = 3  # cases that the text names
_SIZES = 3  # picture sizes that the text names


def find_splits(root: str | Path) -> list[str]:
    """The splits of a data set, from ``ROOT/annotations/person_keypoints_SPLIT.json``, in name order.

    Raises:
      DataError: there is none.
    """
    names = sorted(p.stem.removeprefix(_PREFIX) for p in (Path(root) / "annotations").glob(f"{_PREFIX}*.json"))
    if not names:
        raise DataError(f"{root}: holds no annotations/{_PREFIX}SPLIT.json; give a folder in COCO's layout")
    return names


def check_data(
    root: str | Path,
    splits: Sequence[str] = (),
    keypoints: str | Path | KeypointSet = "coco",
    limit: int | None = None,
    max_people: int = 30,
    progress: bool = False,
) -> dict[str, Any]:
    """Looks for faults in a COCO keypoint data set. Every picture is decoded; nothing is changed.

    Args:
      root: the data set's folder.
      splits: which; none: all that are there.
      keypoints: keypoint set, name or YAML file.
      limit: only the first so many pictures of each split.
      max_people: people of a picture that training takes in (``data.max_people``).
      progress: show a bar while pictures are decoded.

    Returns:
      "data", "keypoints" (the set's name), "splits" (name → counts, see `describe`) and "findings": a list, errors
      first, of "level", "check" (short name), "text", "remedy", "count" and "cases", each with "picture" (SPLIT/FILE),
      "annotation" (id or None) and "detail".

    Raises:
      DataError: a split cannot be trained on at all (see `ehrnet_tf.data.coco.read_records`).
      UsageError: no such keypoint set, or a limit below 1.
    """
    if limit is not None and limit < 1:
        raise UsageError(f"limit {limit}: must be at least 1")
    keypoint_set = keypoint_sets.load(keypoints)
    findings = Findings()
    described, pictures = {}, []
    for name in dict.fromkeys(splits or find_splits(root)):
        split = read_split(Path(root), name, keypoint_set, limit, findings)
        check_people(split, max_people, findings)
        check_sides(split, findings)
        pictures += check_files(split, findings, progress)
        described[name] = describe(split)
        described[name]["decoded"] = sum(picture.name.startswith(f"{name}/") for picture in pictures)
    check_duplicates(pictures, findings)
    findings.sort(key=lambda finding: LEVELS.index(finding.level))
    return {
        "data": str(root),
        "keypoints": keypoint_set.name,
        "splits": described,
        "findings": [finding.to_dict() for finding in findings],
    }


def describe(split: Split) -> dict[str, Any]:
    """What a split holds.

    Returns:
      Counts "pictures", "pictures_with_people" (labelled ones), "pictures_without_annotations", "people" (labelled),
      "unlabelled" and "crowds" (both masked out of the loss); "people_per_picture": "mean" and "max" over pictures that
      have any; "sizes": "WxH" → pictures, the most frequent first; "person_size": percentiles 10, 50, 90 of the longer
      side of the box in pixels; "keypoints": name → "labelled" and "visible" people.
    """
    labelled = split.labelled
    known = labelled.any(axis=1)
    per_picture = [int(n) for group in people_by_picture(split) if (n := known[group].sum())]
    annotated = {annotation["image_id"] for annotation in split.people + split.crowds}
    sides = split.boxes[known, 2:].max(axis=1, initial=0)
    sides = sides[sides > 0]
    sizes = Counter(f"{image['width']}x{image['height']}" for image in split.images.values())
    visible = split.points[:, :, 2] == 2
    return {
        "pictures": len(split.images),
        "pictures_with_people": len(per_picture),
        "pictures_without_annotations": len(split.images) - len(annotated),
        "people": int(known.sum()),
        "unlabelled": int((~known).sum()),
        "crowds": len(split.crowds),
        "people_per_picture": {"mean": float(np.mean(per_picture or [0])), "max": max(per_picture, default=0)},
        "sizes": dict(sizes.most_common()),
        "person_size": [float(p) for p in np.percentile(sides, (10, 50, 90))] if len(sides) else [],
        "keypoints": {
            name: {"labelled": int(labelled[:, k].sum()), "visible": int(visible[:, k].sum())}
            for k, name in enumerate(split.keypoint_set.names)
        },
    }


def report_text(report: dict[str, Any]) -> str:
    """What `check_data` gave, for people to read: tables of counts, then the findings with their first cases."""
    return "\n".join([*_counts(report), "", *_keypoints(report), *_findings(report)])


def _counts(report: dict[str, Any]) -> Iterator[str]:
    splits = report["splits"]
    yield f"{report['data']}, keypoint set {report['keypoints']}"
    yield f"{'':30}" + "".join(f"{name:>16}" for name in splits)
    for key, text in (
        ("pictures", "pictures"),
        ("decoded", "  that can be decoded"),
        ("pictures_with_people", "  with labelled people"),
        ("pictures_without_annotations", "  without annotations"),
        ("people", "people with keypoints"),
        ("unlabelled", "people without (masked)"),
        ("crowds", "crowds (masked)"),
    ):
        yield f"{text:30}" + "".join(f"{split[key]:16,}" for split in splits.values())
    for text, show in (
        ("people a picture, mean / max", lambda s: "{mean:.1f} / {max}".format(**s["people_per_picture"])),
        ("longer side 10/50/90 %, px", lambda s: " / ".join(f"{p:.0f}" for p in s["person_size"]) or "-"),
    ):
        yield f"{text:30}" + "".join(f"{show(split):>16}" for split in splits.values())
    for name, split in splits.items():
        sizes = split["sizes"]
        shown = [f"{size} ({n:,})" for size, n in list(sizes.items())[:_SIZES]]
        shown += [f"{len(sizes) - _SIZES:,} others"] if len(sizes) > _SIZES else []
        yield f"picture sizes of {name}: {', '.join(shown)}"


def _keypoints(report: dict[str, Any]) -> Iterator[str]:
    splits = report["splits"]
    width = max(len(name) for split in splits.values() for name in split["keypoints"])
    yield f"{'labelled (of these visible)':30}" + "".join(f"{name:>16}" for name in splits)
    for name in next(iter(splits.values()))["keypoints"]:
        yield f"  {name:{max(width, 28)}}" + "".join(_share(split["keypoints"][name]) for split in splits.values())


def _share(counts: dict[str, int]) -> str:
    share = f"({counts['visible'] / counts['labelled']:4.0%})" if counts["labelled"] else ""
    return f"{counts['labelled']:9,} {share:>6}"


def _findings(report: dict[str, Any]) -> Iterator[str]:
    for level in LEVELS:
        found = [finding for finding in report["findings"] if finding["level"] == level]
        if found:
            yield f"\n{level}s"
        for finding in found:
            yield f"{finding['count']:7,}  {finding['text']}: {finding['remedy']}"
            for case in finding["cases"][:_SHOWN]:
                yield f"{'':11}{_case(case)}"
            if finding["count"] > _SHOWN:
                yield f"{'':11}and {finding['count'] - _SHOWN:,} more"
    if not report["findings"]:
        yield "\nnothing found"


def _case(case: dict[str, Any]) -> str:
    annotation = "" if case["annotation"] is None else f"annotation {case['annotation']}"
    place = ", ".join(part for part in (case["picture"], annotation) if part)
    return ": ".join(part for part in (place, case["detail"]) if part)
