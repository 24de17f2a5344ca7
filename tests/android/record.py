"""Writes golden/live.npz: scenes, and what the Python decoders make of them; the Android app's must do the same.

    python tests/android/record.py

After a change of ``decode_live``, ``decode``, ``project`` or ``DecoderSettings``, test_contract.py fails until this is
run; then posekit's ContractTest fails until android_demo/posekit follows. golden/README.md describes the file.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.optimize import linear_sum_assignment

from ehrnet_tf.decoding import DecoderSettings, decode, decode_live, project
from ehrnet_tf.decoding.decoder import grouping_order
from ehrnet_tf.decoding.maps import resize
from ehrnet_tf.files import atomic_path

GOLDEN = Path(__file__).parents[1] / "golden" / "live.npz"
SETTINGS = [field.name for field in dataclasses.fields(DecoderSettings)]
FUZZ = 60
ASSIGNMENTS = 30

Arrays = dict[str, np.ndarray]


def scene(
    heatmaps: np.ndarray,
    tags: np.ndarray,
    grouping: Sequence[int] | None = None,
    region: tuple[int, int, int, int] | None = None,
    heatmaps_4: np.ndarray | None = None,
    size: tuple[int, int] | None = None,
    **changes: Any,
) -> Arrays:
    """One scene's maps and settings, as the file holds them; ``heatmaps_4`` and ``size``: what `project` takes."""
    settings = DecoderSettings(**changes)
    found = {
        "heatmaps": heatmaps.astype(np.float16),
        "tags": (tags if tags.ndim == 4 else tags[..., None]).astype(np.float16),
        "settings": np.array(dataclasses.astuple(settings), np.float64),
        "grouping": np.array(grouping_order(grouping, heatmaps.shape[2]), np.int64),
        "region": np.array(region or (0, 0, *heatmaps.shape[:2]), np.int64),
    }
    if heatmaps_4 is not None:
        found |= {"heatmaps_4": heatmaps_4.astype(np.float16), "size": np.array(size, np.int64)}
    return found


def answers(scene: Arrays) -> Arrays:
    """What the decoders make of a scene. x, y, score of people (N, K, 3), without their tags."""
    heatmaps, tags = scene["heatmaps"].astype(np.float32), scene["tags"].astype(np.float32)
    values = (kind(value) for kind, value in zip((int, float, float, int, bool, bool), scene["settings"], strict=True))
    settings = DecoderSettings(*values)
    grouping = scene["grouping"].tolist()
    people, scores = decode_live(heatmaps, tags, settings, grouping, tuple(scene["region"].tolist()))
    found = {"live_people": people[:, :, :3], "live_scores": scores}
    if heatmaps.shape == tags.shape[:3]:
        people, scores = decode(heatmaps, tags, settings, grouping)
        found |= {"exact_people": people[:, :, :3], "exact_scores": scores}
    if "heatmaps_4" in scene:
        heat, wide = project(scene["heatmaps_4"].astype(np.float32), heatmaps, tags, scene["size"].tolist())
        people, scores = decode(heat, wide, settings, grouping)
        found |= {"projected_heatmaps": heat, "projected_tags": wide.reshape(*heat.shape[:2], -1)}
        found |= {"projected_people": people[:, :, :3], "projected_scores": scores}
    return found


def crowd(
    rng: np.random.Generator,
    shape: tuple[int, int, int],
    people: int,
    dimensions: int = 1,
    absent: float = 0.2,
    apart: float = 2.0,
    noise: float = 0.01,
) -> tuple[np.ndarray, np.ndarray]:
    """Maps of made-up people: Gaussians of sigma 2, tags ``apart`` from person to person, some joints absent."""
    height, width, count = shape
    heat = np.abs(rng.normal(0, noise, shape))
    tags = rng.normal(0, 0.1, (*shape, dimensions))
    rows, columns = np.mgrid[:height, :width] + 0.5
    nearest = np.full(shape, np.inf)
    for person in range(people):
        centre = rng.uniform(0, (width, height))
        for k in np.flatnonzero(rng.random(count) > absent):
            x, y = np.clip(centre + rng.normal(0, min(height, width) / 8, 2), 0, (width, height))
            square = (columns - x) ** 2 + (rows - y) ** 2
            heat[:, :, k] = np.maximum(heat[:, :, k], rng.uniform(0.3, 1) * np.exp(-square / 8))
            closer = square < nearest[:, :, k]
            nearest[closer, k] = square[closer]
            tags[closer, k] = apart * person + rng.normal(0, 0.1, dimensions)
    return np.where(heat < 4 * noise, np.round(heat, 2), heat), np.round(tags, 2)  # rounded, for a small file


def scenes() -> dict[str, Arrays]:
    """All scenes by name."""
    rng = np.random.default_rng(8)
    heat, tags = crowd(rng, (40, 48, 17), 7)
    found = {
        "crowd": scene(heat, tags[::2, ::2]),
        "crowd, region": scene(heat, tags[::2, ::2], region=(5, 3, 33, 40)),
        "crowd, not refined": scene(heat, tags[::4, ::4], refine=False),
    }
    for kernel in (1, 3, 7):
        found[f"kernel {kernel}"] = scene(*crowd(rng, (20, 24, 4), 3), nms_kernel=kernel)
    heat, tags = crowd(rng, (24, 24, 4), 5)
    found["not adjusted"] = scene(heat, tags, adjust=False)
    found["threshold 0"] = scene(heat * (heat > 0.05), tags, threshold=0)
    found["threshold 0.5"] = scene(heat, tags, threshold=0.5)
    found["neither adjusted nor refined"] = scene(heat, tags, adjust=False, refine=False)
    found["one person wanted"] = scene(heat, tags, max_people=1)
    found["more than wanted"] = scene(*crowd(rng, (36, 30, 3), 9, apart=0.4), max_people=4)
    found["wide tag threshold"] = scene(heat, tags, tag_threshold=2.75)
    found["narrow tag threshold"] = scene(heat, tags, tag_threshold=0.125)
    found["own grouping"] = scene(*crowd(rng, (23, 37, 5), 4), grouping=(4, 0, 3, 1, 2))
    heat, tags = crowd(rng, (23, 37, 5), 4)
    found["odd tags"] = scene(heat, tags[::2, ::3], grouping=(1, 4, 3, 0, 2), region=(0, 2, 23, 31))
    found["tags finer than heat"] = scene(heat[::2, ::2], tags)
    found["two tags"] = scene(*crowd(rng, (28, 20, 4), 4, dimensions=2))
    heat, tags = crowd(rng, (28, 20, 4), 4, dimensions=3)
    found["three tags, coarse"] = scene(heat, tags[::2, ::2])

    # As an int8 network gives them: equal neighbours, equal candidates, equal tags.
    heat, tags = crowd(rng, (32, 32, 4), 6, apart=1.0, noise=0.06)
    heat, tags = np.round(heat * 12) / 12, np.round(tags * 2) / 2
    found["equal cells"] = scene(heat, tags)
    found["equal cells, region"] = scene(heat, tags[::2, ::2], region=(1, 0, 30, 27), nms_kernel=3)
    found["equal candidates, few wanted"] = scene(heat, tags, max_people=2)
    found["equal candidates, heap of many"] = scene(heat, np.zeros_like(tags), max_people=15, threshold=0.05)
    for name, rows in (("the fewest", 32), ("too few", 31)):  # cells for the heap: 64 a person wanted
        cells = heat[:rows, :30] - 0.125
        found[f"equal candidates, {name} cells"] = scene(cells, 0 * cells, max_people=15, threshold=0)
    found["a plain"] = scene(np.full((12, 14, 3), 0.5), np.zeros((6, 7, 3)))
    ridge = np.exp(-((np.arange(13) - 6.3) ** 2) / 8)
    found["a ridge"] = scene(np.repeat(ridge, 33).reshape(13, 11, 3), np.zeros((13, 11, 3)))

    padded, tags = crowd(rng, (24, 30, 3), 2)
    padded[:6], padded[18:] = 1, rng.random((6, 30, 3))
    found["heat in the padding"] = scene(padded, tags[::2, ::2], region=(6, 0, 18, 30))
    found["nothing inside"] = scene(padded, tags, region=(7, 9, 7, 30))
    found["empty"] = scene(np.zeros((9, 7, 17)), np.zeros((9, 7, 17)))
    found["one cell"] = scene(np.full((1, 1, 3), 0.7), np.array([0.0, 0.5, 3]).reshape(1, 1, 3))
    found["one row"] = scene(*crowd(rng, (1, 30, 3), 2))
    found["one column"] = scene(*crowd(rng, (30, 1, 3), 2), adjust=False)
    found["one keypoint"] = scene(*crowd(rng, (20, 20, 1), 4))
    found["below 0 and above 1"] = scene(rng.normal(0, 3, (16, 18, 4)), rng.normal(0, 4, (16, 18, 4)))
    found["huge"] = scene(rng.normal(0, 1e4, (10, 12, 3)), rng.normal(0, 1e4, (10, 12, 3, 2)))
    found["tiny"] = scene(rng.random((10, 12, 3)) * 1e-6, rng.random((10, 12, 3)) * 1e-6, threshold=0)
    for name, shapes, dimensions in (
        ("projected", ((10, 8), (20, 16), (40, 32)), 1),
        ("projected, odd", ((7, 9), (13, 18), (31, 29)), 2),
        ("projected, reduced", ((12, 11), (24, 22), (12, 10)), 1),
        ("projected, same size", ((14, 12), (14, 12), (14, 12)), 1),
    ):
        high, tags = crowd(rng, (*shapes[1], 3), 2, dimensions)
        low, tags = resize(high, shapes[0]), resize(tags.reshape(*shapes[1], -1), shapes[0])
        tags = tags.reshape(*shapes[0], 3, dimensions)
        found[name] = scene(high, tags, heatmaps_4=low, size=shapes[2])
    return found | {f"fuzz {seed}": fuzz(np.random.default_rng(seed)) for seed in range(FUZZ)}


def fuzz(rng: np.random.Generator) -> Arrays:
    """A tiny random scene with random settings."""
    shape = (*rng.integers(1, 9, 2), rng.integers(1, 4))
    dimensions = rng.integers(1, 3)
    heat, tags = rng.normal(0.1, 0.4, shape), rng.normal(0, rng.choice([0.3, 2.0]), (*shape, dimensions))
    if rng.random() < 0.4:
        heat, tags = np.round(heat * 4) / 4, np.round(tags)
    coarse = rng.integers(1, 3)
    top, left = rng.integers(0, (shape[0], shape[1])) * (rng.random() < 0.3)
    return scene(
        heat,
        tags[::coarse, ::coarse],
        grouping=rng.permutation(shape[2]),
        region=(top, left, shape[0], rng.integers(left, shape[1]) + 1),
        nms_kernel=rng.choice([1, 3, 5, 9]),
        threshold=rng.choice([0, 0.1, 0.25]),
        tag_threshold=rng.choice([0.25, 1, 3]),
        max_people=rng.choice([1, 2, 30]),
        adjust=rng.random() < 0.7,
        refine=rng.random() < 0.7,
    )


def assignments() -> Arrays:
    """Cost matrices with equal sums, and SciPy's choice: the column of each row, -1: none."""
    found = {}
    for seed in range(ASSIGNMENTS):
        rng = np.random.default_rng(seed)
        cost = rng.integers(0, rng.choice([2, 4, 50]), rng.integers(1, 9, 2)).astype(np.float64)
        columns = np.full(len(cost), -1)
        rows, chosen = linear_sum_assignment(cost)
        columns[rows] = chosen
        found |= {f"assignment {seed}/cost": cost, f"assignment {seed}/columns": columns}
    return found


def read(path: Path) -> tuple[dict[str, Arrays], Arrays]:
    """The file's scenes by name, in order, and what belongs to none."""
    with np.load(path) as data:
        everything = dict(data)
    names = everything["scenes"].tolist()
    found: dict[str, Arrays] = {name: {} for name in names}
    for key in list(everything):
        name, _, part = key.rpartition("/")
        if name in found:
            found[name][part] = everything.pop(key)
    return found, everything


def record(path: Path) -> None:
    everything = assignments()
    everything["setting_names"] = np.array(SETTINGS)
    everything["default_settings"] = np.array(dataclasses.astuple(DecoderSettings()), np.float64)
    all_scenes = scenes()
    everything["scenes"] = np.array(list(all_scenes))
    for name, maps in all_scenes.items():
        everything |= {f"{name}/{part}": values for part, values in (maps | answers(maps)).items()}
    with atomic_path(path) as temporary, open(temporary, "wb") as file:
        np.savez_compressed(file, **everything)


if __name__ == "__main__":
    record(GOLDEN)
    print(f"{GOLDEN}: {len(scenes())} scenes, {GOLDEN.stat().st_size / 1024:.0f} KiB")
