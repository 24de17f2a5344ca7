"""Keypoint sets: what a skeleton is made of, as data that drives targets, flips, heads, decoding, AP and drawing."""

from __future__ import annotations

import dataclasses
import difflib
import functools
import math
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Tuple

import yaml

from ehrnet_tf.configs import FOLDER
from ehrnet_tf.errors import UsageError

Color = Tuple[int, int, int]  # RGB, 0..255
ANNOTATION_KEYS = ("keypoints",)


@dataclasses.dataclass(frozen=True)
class KeypointSet:
    """A set of K keypoints.

    Attributes:
      name: the set's name ("coco").
      names: K keypoint names, in the order of the annotation files and of the network's channels.
      flip_pairs: pairs of indices that change places in a mirrored picture.
      skeleton: pairs of indices that are joined by a drawn limb.
      sigmas: K constants of the object keypoint similarity (COCO's definition: a standard deviation of 2·sigma·s).
      grouping: the K indices in the order in which the decoder visits them.
      category: the COCO category that carries these keypoints.
      colors: K colours to draw with, None where the default is meant (see `drawing`); empty: the default for all.
      annotation_keys: the lists of an annotation that hold the keypoints, one list after the other.
      area_per_box: the area of an annotation that states none, as a share of its box's.
    """

    name: str
    names: tuple[str, ...]
    flip_pairs: tuple[tuple[int, int], ...]
    skeleton: tuple[tuple[int, int], ...]
    sigmas: tuple[float, ...]
    grouping: tuple[int, ...]
    category: str = "person"
    colors: tuple[Color | None, ...] = ()
    annotation_keys: tuple[str, ...] = ANNOTATION_KEYS
    area_per_box: float = 1.0

    def __len__(self) -> int:
        return len(self.names)

    @property
    def flip_order(self) -> tuple[int, ...]:
        """K indices: channel k of a mirrored picture is channel ``flip_order[k]`` of the original."""
        order = list(range(len(self)))
        for a, b in self.flip_pairs:
            order[a], order[b] = b, a
        return tuple(order)

    def labels(self, annotation: Mapping[str, Any]) -> Any:
        """What a COCO annotation holds under ``annotation_keys``, lists joined to one: 3 K numbers if all is well.

        Where one of them is missing or no list, it is that one that is returned (None if missing).
        """
        parts = [annotation.get(key) for key in self.annotation_keys]
        for part in parts:
            if not isinstance(part, list):
                return part
        return [number for part in parts for number in part]

    def to_dict(self) -> dict[str, Any]:
        """The set as plain values with keypoints by name: what ``from_dict`` and the YAML files read."""
        data: dict[str, Any] = {
            "name": self.name,
            "category": self.category,
            "keypoints": list(self.names),
            "flip_pairs": [[self.names[a], self.names[b]] for a, b in self.flip_pairs],
            "skeleton": [[self.names[a], self.names[b]] for a, b in self.skeleton],
            "sigmas": list(self.sigmas),
            "grouping": [self.names[k] for k in self.grouping],
        }
        if any(self.colors):
            data["colors"] = {n: list(c) for n, c in zip(self.names, self.colors) if c}
        if self.annotation_keys != ANNOTATION_KEYS:
            data["annotation_keys"] = list(self.annotation_keys)
        if self.area_per_box != 1:
            data["area_per_box"] = self.area_per_box
        return data

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], source: str = "keypoint set") -> KeypointSet:
        """Builds a set from the values of a YAML file.

        Args:
          data: ``name``, ``keypoints`` (names) and, each optional, ``flip_pairs`` and ``skeleton`` (pairs of names),
            ``sigmas`` (default 0.05 each), ``grouping`` (default: the order of ``keypoints``), ``category``,
            ``colors`` (name to [r, g, b] or "#rrggbb"), ``annotation_keys``, ``area_per_box``.
          source: what error messages call the data, normally the file's path.

        Raises:
          UsageError: a key is missing or unknown, a name is unknown or double, a value or a length does not fit.
        """
        return _Reader(data, source).build()


_KEYS = (
    "name",
    "category",
    "keypoints",
    "flip_pairs",
    "skeleton",
    "sigmas",
    "grouping",
    "colors",
    "annotation_keys",
    "area_per_box",
)


class _Reader:
    """Checks the values of a set's file, and makes the set of them; every error names the file and the key."""

    def __init__(self, data: Any, source: str):
        self.data, self.source = data, source
        if not isinstance(data, Mapping):
            raise self.error(f"not a mapping of {', '.join(_KEYS)}")
        for key in data:
            if key not in _KEYS:
                raise self.error(f"unknown key '{key}'; {_nearest(key, _KEYS)}")
        for key in ("name", "keypoints"):
            if not data.get(key):
                raise self.error(f"'{key}' is missing")
        self.names = self.texts("keypoints")
        self.index = {name: k for k, name in enumerate(self.names)}

    def error(self, message: str) -> UsageError:
        return UsageError(f"{self.source}: {message}")

    def build(self) -> KeypointSet:
        return KeypointSet(
            name=str(self.data["name"]),
            names=self.names,
            flip_pairs=self.flip_pairs(),
            skeleton=self.pairs("skeleton"),
            sigmas=self.sigmas(),
            grouping=self.grouping(),
            category=self.category(),
            colors=self.colors(),
            annotation_keys=self.texts("annotation_keys", ANNOTATION_KEYS),
            area_per_box=self.area_per_box(),
        )

    def texts(self, key: str, default: tuple[str, ...] = ()) -> tuple[str, ...]:
        """A list of different names, none of them empty."""
        given = self.data.get(key)
        if given is None:
            return default
        if not isinstance(given, (list, tuple)) or not given:
            raise self.error(f"{key} must be a list of names, not {given!r:.60}")
        names = tuple(str(name) for name in given)
        for name, value in zip(names, given):
            if value is None or not name.strip():
                raise self.error(f"{key} holds an empty name; give each a name of its own")
            if names.count(name) > 1:
                what = "keypoint" if key == "keypoints" else key
                raise self.error(f"{what} '{name}' is listed twice; give each a name of its own")
        return names

    def look_up(self, name: Any, key: str) -> int:
        """The index of a keypoint that ``key`` names."""
        name = str(name)
        if name not in self.index:
            hint = _nearest(name, self.names)
            raise self.error(f"{key} names '{name}', which is not among the keypoints; {hint}")
        return self.index[name]

    def pairs(self, key: str) -> tuple[tuple[int, int], ...]:
        """A list of two keypoints each, not twice the same."""
        found = []
        for pair in self.listed(key, "pairs of keypoint names"):
            if not isinstance(pair, (list, tuple)) or len(pair) != 2:
                raise self.error(f"{key} holds {pair!r}, which is not a pair of keypoint names")
            a, b = (self.look_up(name, key) for name in pair)
            if a == b:
                raise self.error(f"{key} pairs '{pair[0]}' with itself; name two keypoints, or leave the pair out")
            found.append((a, b))
        return tuple(found)

    def listed(self, key: str, what: str) -> list[Any]:
        given = self.data.get(key)
        if given is not None and not isinstance(given, (list, tuple)):
            raise self.error(f"{key} must be a list of {what}, not {given!r:.60}")
        return list(given or ())

    def flip_pairs(self) -> tuple[tuple[int, int], ...]:
        pairs = self.pairs("flip_pairs")
        flipped = [k for pair in pairs for k in pair]
        if len(set(flipped)) != len(flipped):
            double = self.names[max(flipped, key=flipped.count)]
            raise self.error(f"flip_pairs names '{double}' more than once; a keypoint has one mirror image")
        return pairs

    def sigmas(self) -> tuple[float, ...]:
        count = len(self.names)
        sigmas = tuple(_number(s) for s in self.listed("sigmas", "numbers") or [0.05] * count)
        if len(sigmas) != count or not all(s > 0 for s in sigmas):
            raise self.error(f"sigmas must be {count} positive numbers, one a keypoint")
        return sigmas

    def grouping(self) -> tuple[int, ...]:
        named = self.listed("grouping", "keypoint names") or self.names
        order = tuple(self.look_up(name, "grouping") for name in named)
        if sorted(order) != list(range(len(self.names))):
            raise self.error(f"grouping must name each of the {len(self.names)} keypoints once")
        return order

    def category(self) -> str:
        name = str(self.data.get("category", "person"))
        if not name.strip():
            raise self.error("category is empty; name the category of the annotation file")
        return name

    def colors(self) -> tuple[Color | None, ...]:
        given = self.data.get("colors") or {}
        if not isinstance(given, Mapping):
            raise self.error(f'colors must map keypoint names to [r, g, b] or "#rrggbb", not {given!r:.60}')
        chosen = {self.look_up(name, "colors"): self.color(name, value) for name, value in given.items()}
        return tuple(chosen.get(k) for k in range(len(self.names))) if chosen else ()

    def color(self, name: str, value: Any) -> Color:
        if isinstance(value, str) and re.fullmatch("#[0-9a-fA-F]{6}", value):
            return tuple(bytes.fromhex(value[1:]))
        if isinstance(value, (list, tuple)) and len(value) == 3 and all(type(v) is int and 0 <= v < 256 for v in value):
            return tuple(value)
        raise self.error(f"colors: '{name}' is {value!r:.60}; write [r, g, b], each 0 to 255, or \"#rrggbb\" in quotes")

    def area_per_box(self) -> float:
        given = self.data.get("area_per_box", 1.0)
        share = _number(given)
        if not 0 < share <= 1:
            raise self.error(f"area_per_box is {given!r:.60}; give a share of the box's area, above 0 and up to 1")
        return share


def _number(value: Any) -> float:
    """A finite number, also from text (YAML 1.1 reads 1e-2 as such); NaN for anything else."""
    try:
        number = float("nan" if isinstance(value, bool) else value)
    except (TypeError, ValueError):
        return math.nan
    return number if math.isfinite(number) else math.nan


def _nearest(name: Any, known: tuple[str, ...]) -> str:
    """A remedy for an unknown name: the known one most like it, or, of a few, all."""
    near = difflib.get_close_matches(str(name), known, n=1, cutoff=0.5)
    if near:
        return f"did you mean '{near[0]}'?"
    more = f" and {len(known) - 20} more" if len(known) > 20 else ""
    return f"known: {', '.join(known[:20])}{more}"


@functools.lru_cache(maxsize=None)
def _load_file(path: Path) -> KeypointSet:
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UsageError(f"{path}: cannot be read as YAML ({str(error).splitlines()[0]})") from error
    return KeypointSet.from_dict(data, str(path))


def builtin() -> list[str]:
    """The names of the sets that `load` knows."""
    return sorted(path.stem for path in (FOLDER / "keypoints").glob("*.yaml"))


def load(which: str | os.PathLike | KeypointSet) -> KeypointSet:
    """The keypoint set of that name (``configs/keypoints/NAME.yaml``) or in that YAML file; a set passes through.

    Raises:
      UsageError: there is no such set or file, or its contents are wrong.
    """
    if isinstance(which, KeypointSet):
        return which
    known = FOLDER / "keypoints" / f"{which}.yaml"
    path = known if known.is_file() else Path(which)
    if not path.is_file():
        names = ", ".join(builtin())
        raise UsageError(f"keypoints '{which}': neither a YAML file nor one of the built-in sets ({names})")
    return _load_file(path)
