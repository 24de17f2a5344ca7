"""Keypoint sets: what a skeleton is made of, as data that drives targets, flips, heads, decoding, AP and drawing."""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from ehrnet_tf.configs import FOLDER
from ehrnet_tf.errors import UsageError


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
    """

    name: str
    names: tuple[str, ...]
    flip_pairs: tuple[tuple[int, int], ...]
    skeleton: tuple[tuple[int, int], ...]
    sigmas: tuple[float, ...]
    grouping: tuple[int, ...]
    category: str = "person"

    def __len__(self) -> int:
        return len(self.names)

    @property
    def flip_order(self) -> tuple[int, ...]:
        """K indices: channel k of a mirrored picture is channel ``flip_order[k]`` of the original."""
        order = list(range(len(self)))
        for a, b in self.flip_pairs:
            order[a], order[b] = b, a
        return tuple(order)

    def to_dict(self) -> dict[str, Any]:
        """The set as plain values with keypoints by name: what ``from_dict`` and the YAML files read."""
        return {
            "name": self.name,
            "category": self.category,
            "keypoints": list(self.names),
            "flip_pairs": [[self.names[a], self.names[b]] for a, b in self.flip_pairs],
            "skeleton": [[self.names[a], self.names[b]] for a, b in self.skeleton],
            "sigmas": list(self.sigmas),
            "grouping": [self.names[k] for k in self.grouping],
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], source: str = "keypoint set") -> KeypointSet:
        """Builds a set from the values of a YAML file.

        Args:
          data: ``name``, ``keypoints`` (names) and, each optional, ``flip_pairs`` and ``skeleton`` (pairs of names),
            ``sigmas`` (default 0.05 each), ``grouping`` (default: the order of ``keypoints``), ``category``.
          source: what error messages call the data, normally the file's path.

        Raises:
          UsageError: a key is missing or unknown, a name is unknown or double, a length does not fit.
        """
        if not isinstance(data, Mapping):
            raise UsageError(f"{source}: not a mapping of name, keypoints, flip_pairs, skeleton, sigmas, grouping")
        known = {"name", "category", "keypoints", "flip_pairs", "skeleton", "sigmas", "grouping"}
        if unknown := sorted(set(data) - known):
            raise UsageError(f"{source}: unknown key '{unknown[0]}' (known: {', '.join(sorted(known))})")
        for key in ("name", "keypoints"):
            if not data.get(key):
                raise UsageError(f"{source}: '{key}' is missing")
        names = tuple(str(n) for n in data["keypoints"])
        index = {n: k for k, n in enumerate(names)}
        if len(index) != len(names):
            double = next(n for n in names if names.count(n) > 1)
            raise UsageError(f"{source}: keypoint '{double}' is listed twice")

        def look_up(name: Any, key: str) -> int:
            if name not in index:
                raise UsageError(f"{source}: {key} names '{name}', which is not among the keypoints")
            return index[name]

        def pairs(key: str) -> tuple[tuple[int, int], ...]:
            found = []
            for pair in data.get(key) or ():
                if not isinstance(pair, (list, tuple)) or len(pair) != 2:
                    raise UsageError(f"{source}: {key} holds {pair!r}, which is not a pair of keypoint names")
                found.append((look_up(pair[0], key), look_up(pair[1], key)))
            return tuple(found)

        flip_pairs = pairs("flip_pairs")
        flipped = [k for pair in flip_pairs for k in pair]
        if len(set(flipped)) != len(flipped):
            raise UsageError(f"{source}: flip_pairs names '{names[max(flipped, key=flipped.count)]}' more than once")
        sigmas = tuple(float(s) for s in data.get("sigmas") or (0.05,) * len(names))
        if len(sigmas) != len(names) or min(sigmas) <= 0:
            raise UsageError(f"{source}: sigmas must be {len(names)} positive numbers, one a keypoint")
        grouping = tuple(look_up(n, "grouping") for n in data.get("grouping") or names)
        if sorted(grouping) != list(range(len(names))):
            raise UsageError(f"{source}: grouping must name each of the {len(names)} keypoints once")
        return cls(
            name=str(data["name"]),
            names=names,
            flip_pairs=flip_pairs,
            skeleton=pairs("skeleton"),
            sigmas=sigmas,
            grouping=grouping,
            category=str(data.get("category", "person")),
        )


@functools.cache
def _load_file(path: Path) -> KeypointSet:
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UsageError(f"{path}: cannot be read as YAML ({str(error).splitlines()[0]})") from error
    return KeypointSet.from_dict(data, str(path))


def load(which: str | os.PathLike | KeypointSet) -> KeypointSet:
    """The keypoint set of that name (``configs/keypoints/NAME.yaml``) or in that YAML file; a set passes through.

    Raises:
      UsageError: there is no such set or file, or its contents are wrong.
    """
    if isinstance(which, KeypointSet):
        return which
    builtin = FOLDER / "keypoints" / f"{which}.yaml"
    path = builtin if builtin.is_file() else Path(which)
    if not path.is_file():
        names = ", ".join(sorted(p.stem for p in (FOLDER / "keypoints").glob("*.yaml")))
        raise UsageError(f"keypoints '{which}': neither a YAML file nor one of the built-in sets ({names})")
    return _load_file(path)
