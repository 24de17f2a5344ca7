"""Pictures that occur twice: the same bytes, or nearly the same picture (saved again, scaled, brightened)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import cv2
import numpy as np

from ehrnet_tf.data.checks.files import Picture
from ehrnet_tf.data.checks.findings import Case, Findings

_BANDS = 4  # of 16 bits: hashes that differ in fewer bits than there are bands have one band in common
_BITS = 3  # hashes differ in at most so many bits
_CORRELATION = 0.99  # of thumbnails
_CONTRAST = 4.0  # standard deviation of a thumbnail; what is flatter is like anything flat
_HALVES = np.arange(1 << 16, dtype=np.uint16)
_SET_BITS = np.unpackbits(_HALVES[:, None].view(np.uint8), axis=1).sum(axis=1, dtype=np.uint8)  # of each of them


def check_duplicates(pictures: Sequence[Picture], findings: Findings) -> None:
    """Notes pictures that occur twice within a split, and in two splits, over the pictures of all splits."""
    first: dict[bytes, int] = {}
    same: list[tuple[int, int]] = []
    for index, picture in enumerate(pictures):
        earlier = first.setdefault(picture.digest, index)
        if earlier != index and pictures[earlier].name != picture.name:
            same.append((earlier, index))
    distinct = sorted(first.values())
    thumbnails = np.array([pictures[i].thumbnail for i in distinct])
    near = [(distinct[a], distinct[b]) for a, b in near_pairs(thumbnails)] if distinct else []
    leak = "remove it from one split: what was trained on cannot validate"
    for check, level, text, remedy, pairs in (
        ("same", "warning", "pictures twice in a split, byte for byte", "remove one of them", same),
        ("near", "note", "pictures nearly the same as another of their split", "thin out frames of a video", near),
    ):
        cases: dict[bool, list[Case]] = defaultdict(list)
        for a, b in pairs:
            across = pictures[a].name.split("/")[0] != pictures[b].name.split("/")[0]
            cases[across].append(Case(pictures[b].name, detail=f"like {pictures[a].name}"))
        kind = "the same" if check == "same" else "nearly the same"
        findings.note("error", f"{check}_across", f"pictures in two splits, {kind}", leak, cases[True])
        findings.note(level, check, text, remedy, cases[False])


def near_pairs(thumbnails: np.ndarray) -> list[tuple[int, int]]:
    """Pairs of nearly equal pictures.

    Candidates are those whose difference hashes (is a cell brighter than the one left of it?) differ in up to 3 of 64
    bits: found by sorting on each quarter of the hash, without comparing all with all. Their thumbnails must correlate.

    Args:
      thumbnails: (N, S, S) uint8, grey.

    Returns:
      Pairs of indices i < j, sorted.
    """
    hashes = difference_hashes(thumbnails)
    flat = thumbnails.reshape(len(thumbnails), -1).astype(np.float32)
    flat = flat - flat.mean(axis=1, keepdims=True)
    contrast = flat.std(axis=1)
    flat /= np.maximum(contrast, 1e-6)[:, None] * np.sqrt(flat.shape[1])
    usable = np.flatnonzero(contrast >= _CONTRAST)
    pairs: set[tuple[int, int]] = set()
    for band in range(_BANDS):
        keys = (hashes[usable] >> np.uint64(16 * band)) & np.uint64(0xFFFF)
        order = usable[np.argsort(keys, kind="stable")]
        keys = np.sort(keys, kind="stable")
        for step in range(1, len(order)):
            together = np.flatnonzero(keys[step:] == keys[:-step])
            if not len(together):
                break
            a, b = order[together], order[together + step]
            close = _bits(hashes[a] ^ hashes[b]) <= _BITS
            a, b = a[close], b[close]
            alike = (flat[a] * flat[b]).sum(axis=1) > _CORRELATION
            pairs.update(zip(np.minimum(a, b)[alike].tolist(), np.maximum(a, b)[alike].tolist(), strict=True))
    return sorted(pairs)


def difference_hashes(thumbnails: np.ndarray) -> np.ndarray:
    """(N,) uint64: bit 8 r + c tells whether, of 8 x 9 cells, the one at row r, column c + 1 is brighter than at c."""
    small = np.array([cv2.resize(t, (9, 8), interpolation=cv2.INTER_AREA) for t in thumbnails]).reshape(-1, 8, 9)
    bits = (small[:, :, 1:] > small[:, :, :-1]).reshape(-1, 64)
    return (bits.astype(np.uint64) << np.arange(64, dtype=np.uint64)).sum(axis=1, dtype=np.uint64)


def _bits(values: np.ndarray) -> np.ndarray:
    """How many bits of (N,) uint64 are set."""
    return _SET_BITS[values[:, None].view(np.uint16)].sum(axis=1)
