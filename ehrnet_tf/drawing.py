"""Drawing poses: limbs and joints in colours that tell the sides apart, to the colour-blind as well."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np

from ehrnet_tf.errors import UsageError
from ehrnet_tf.keypoints import Color, KeypointSet

# RGB. Blue and orange of Okabe and Ito's palette, "Color Universal Design", 2008, the orange a little lighter, and a
# cream that stays apart from both for every kind of colour vision; their bluish green is like the blue to a tritanope.
LEFT = (86, 180, 233)
RIGHT = (240, 145, 20)
CENTRE = (255, 240, 195)
_SIDES = {"left": LEFT, "right": RIGHT, "centre": CENTRE}
EDGE = (25, 25, 30)
_EDGE_RGBA = np.array((*EDGE, 255), np.float32)
_BOX_RGBA = 0.65 * np.array((235, 235, 235, 255), np.float32)
_BOX_EDGE_RGBA = 0.3 * _EDGE_RGBA
_SHIFT = 4  # OpenCV's fixed-point coordinates: 1/16 pixel
_FONT = cv2.FONT_HERSHEY_SIMPLEX


def draw_poses(
    image: np.ndarray,
    keypoints: np.ndarray,
    keypoint_set: KeypointSet,
    scores: Sequence[float] | np.ndarray | None = None,
    min_score: float = 0.1,
    labels: Sequence[str] | None = None,
    boxes: bool = False,
) -> np.ndarray:
    """Draws people on a copy of a picture.

    A keypoint has the colour that the set gives it, a limb the mean of its ends'. Where the set gives none, left, right
    and central limbs have different colours, told from keypoint names that begin with left_ and right_. Lines become
    thicker with the person and the picture, and more transparent with a lower score. A dark edge sets them off from
    light ground.

    Args:
      image: (H, W, 3) uint8, RGB.
      keypoints: (N, K, 3): x and y in pixels, in the continuous frame (the first pixel's centre is 0.5, 0.5), score.
      keypoint_set: its names, skeleton and colours.
      scores: (N,) scores of the people, written beside the head; None: nothing is written.
      min_score: joints below this, and their limbs, are not drawn.
      labels: N texts to write instead of the scores, such as the ids of tracks; "": nothing is written.
      boxes: draw a thin light box round the joints that are drawn, with a margin of an eighth of the person's extent.

    Returns:
      (H, W, 3) uint8, RGB, a new array.

    Raises:
      UsageError: the picture or the keypoints have another shape or dtype.
    """
    keypoints = checked(image, keypoints, keypoint_set)
    if labels is None:
        labels = [""] * len(keypoints) if scores is None else [f"{score:.2f}" for score in scores]
    if len(labels) != len(keypoints):
        raise UsageError(f"{len(labels)} labels or scores for {len(keypoints)} people: give one each")
    result = np.array(image, order="C")
    style = _style(keypoint_set)
    shown = present(keypoints, min_score)
    written = []
    for joints, visible, label in zip(keypoints, shown, labels):
        if visible.any():
            written.append((label, _draw_person(result, joints, visible, style, boxes)))
    for label, anchor in written:
        if label:
            _draw_label(result, label, anchor)
    return result


def checked(image: np.ndarray, keypoints: np.ndarray, keypoint_set: KeypointSet) -> np.ndarray:
    """The keypoints as (N, K, 3) float32, if they and the picture are what ``draw_poses`` takes; UsageError if not."""
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise UsageError(f"picture {image.shape} {image.dtype}: give (H, W, 3) uint8, e.g. by images.to_rgb_uint8")
    keypoints = np.asarray(keypoints, np.float32)
    if keypoints.ndim != 3 or keypoints.shape[1:] != (len(keypoint_set), 3):
        raise UsageError(f"keypoints {keypoints.shape}: give (N, {len(keypoint_set)}, 3)")
    return keypoints


def present(keypoints: np.ndarray, min_score: float) -> np.ndarray:
    """(N, K) bool: the joints of (N, K, 3) that are there: finite, scored above 0 and at least ``min_score``."""
    scores = keypoints[:, :, 2]
    return np.isfinite(keypoints).all(axis=2) & (scores >= min_score) & (scores > 0)


class _Style(NamedTuple):
    """What is the same for every person of a keypoint set."""

    limbs: np.ndarray  # (L, 2) indices
    limb_colors: np.ndarray  # (L, 4) float32: RGB and alpha of an opaque limb, 0..255
    joint_colors: np.ndarray  # (K, 4) float32


@functools.lru_cache(maxsize=8)
def _style(keypoint_set: KeypointSet) -> _Style:
    limbs = [(*limb_color(keypoint_set, a, b), 255) for a, b in keypoint_set.skeleton]
    joints = [(*limb_color(keypoint_set, k, k), 255) for k in range(len(keypoint_set))]
    return _Style(
        np.array(keypoint_set.skeleton, np.intp).reshape(-1, 2),
        np.array(limbs, np.float32).reshape(-1, 4),
        np.array(joints, np.float32).reshape(-1, 4),
    )


def _draw_person(
    image: np.ndarray, joints: np.ndarray, visible: np.ndarray, style: _Style, box: bool
) -> tuple[float, float]:
    """Draws one person into ``image``; returns where a label may stand: the middle above the highest joint, x and y.

    The person is drawn on a layer of premultiplied colour and alpha, only as large as needed, and blended in one go.
    """
    height, width = image.shape[:2]
    points = np.clip(joints[:, :2], -width - height, 2 * (width + height))
    seen = points[visible]
    low, high = seen.min(axis=0), seen.max(axis=0)
    extent = float((high - low).max())
    short = min(height, width)
    thickness = round(min(max(extent / 45, 1, short / 300), max(2, short / 80)))
    radius = max(thickness * 0.95 + 0.5, 1.6)
    edge = max(1, thickness // 3)
    highest = seen[seen[:, 1].argmin()]
    anchor = float(highest[0]), float(highest[1]) - radius - 3 - 0.05 * extent
    margin = 3 * thickness + 4
    if box:
        space = extent / 8 + radius + edge
        corners = np.stack((low - space, high + space))
        anchor = anchor[0], min(anchor[1], float(corners[0, 1]) - edge)
        margin += int(space)
    left, top = np.clip(np.floor(low).astype(int) - margin, 0, (width, height)).tolist()
    right, bottom = np.clip(np.ceil(high).astype(int) + margin, 0, (width, height)).tolist()
    if right <= left or bottom <= top:
        return anchor
    layer = np.zeros((bottom - top, right - left, 4), np.uint8)
    if box:
        inside = np.clip(corners, 0.5 + edge, np.maximum((width - 0.5 - edge, height - 0.5 - edge), 0.5 + edge))
        _draw_box(layer, np.rint(inside - (left + 0.5, top + 0.5)).astype(int).tolist(), max(1, thickness // 3), edge)
    fixed = np.rint((points - (left + 0.5, top + 0.5)) * (1 << _SHIFT)).astype(int)
    _draw_skeleton(layer, fixed, 0.3 + 0.7 * np.clip(joints[:, 2], 0, 1), visible, style, (thickness, edge, radius))
    region = image[top:bottom, left:right]
    through = cv2.cvtColor(cv2.bitwise_not(cv2.extractChannel(layer, 3)), cv2.COLOR_GRAY2RGB)
    region[:] = cv2.add(cv2.multiply(region, through, scale=1 / 255), cv2.cvtColor(layer, cv2.COLOR_RGBA2RGB))
    return anchor


def _draw_skeleton(
    layer: np.ndarray,
    fixed: np.ndarray,
    opacity: np.ndarray,
    visible: np.ndarray,
    style: _Style,
    widths: tuple[int, int, float],
) -> None:
    """Draws limbs and joints on a layer; ``fixed`` are the joints there in 1/16 pixels, ``widths`` in pixels those of a
    limb and of its dark edge and the radius of a joint."""
    thickness, edge, radius = widths
    drawn = visible[style.limbs].all(axis=1)
    limbs = style.limbs[drawn]
    ends = fixed[limbs].tolist()
    limb_opacity = opacity[limbs].min(axis=1)[:, None]
    for colors, width in ((_EDGE_RGBA, thickness + 2 * edge), (style.limb_colors[drawn], thickness)):
        for (a, b), color in zip(ends, (colors * limb_opacity).tolist()):
            cv2.line(layer, a, b, color, width, cv2.LINE_AA, _SHIFT)
    outer, inner = (round(size * (1 << _SHIFT)) for size in (radius + edge, radius))
    joint_opacity = opacity[visible][:, None]
    rims, colors = (_EDGE_RGBA * joint_opacity).tolist(), (style.joint_colors[visible] * joint_opacity).tolist()
    for centre, rim, color in zip(fixed[visible].tolist(), rims, colors):
        cv2.circle(layer, centre, outer, rim, cv2.FILLED, cv2.LINE_AA, _SHIFT)
        cv2.circle(layer, centre, inner, color, cv2.FILLED, cv2.LINE_AA, _SHIFT)


def _draw_box(layer: np.ndarray, corners: list[list[int]], thickness: int, edge: int) -> None:
    """Draws a box between the pixels ``corners`` (x, y) of a layer, with a dark edge."""
    for color, width in ((_BOX_EDGE_RGBA, thickness + 2 * edge), (_BOX_RGBA, thickness)):
        cv2.rectangle(layer, corners[0], corners[1], color.tolist(), width)


def _draw_label(image: np.ndarray, label: str, anchor: tuple[float, float]) -> None:
    """Writes a light text on a dark ground, centred above ``anchor`` and inside the picture."""
    height, width = image.shape[:2]
    scale = min(max(min(height, width) / 1200, 0.35), 4)
    stroke = max(1, round(scale * 1.2))
    text_width, text_height = _text_size(label, scale, stroke)
    pad = max(2, round(text_height * 0.4))
    x = int(max(pad, min(anchor[0] - text_width / 2, width - text_width - pad)))
    y = int(max(text_height + pad, min(anchor[1] - pad, height - pad)))
    ground = image[max(0, y - text_height - pad) : y + pad, max(0, x - pad) : x + text_width + pad]
    ground[:] = cv2.addWeighted(ground, 0.25, np.full_like(ground, EDGE), 0.75, 0)
    cv2.putText(image, label, (x, y), _FONT, scale, (255, 255, 255), stroke, cv2.LINE_AA)


@functools.lru_cache(maxsize=1024)
def _text_size(label: str, scale: float, stroke: int) -> tuple[int, int]:
    """Width and height in pixels of a text without what hangs below its line."""
    return cv2.getTextSize(label, _FONT, scale, stroke)[0]


def side_of(name: str) -> str:
    """The side of the body that a keypoint's name tells: "left", "right" or "centre"."""
    return next((side for side in ("left", "right") if name.lower().startswith(f"{side}_")), "centre")


def limb_color(keypoint_set: KeypointSet, a: int, b: int) -> Color:
    """The colour, RGB, of the limb between two keypoints, or of one keypoint if they are the same.

    Where neither end has a colour of its own and one is on a side of the body, the other in the centre: the side's.
    """
    own = [keypoint_set.colors[k] if keypoint_set.colors else None for k in (a, b)]
    sides = [side_of(keypoint_set.names[k]) for k in (a, b)]
    if not any(own):
        chosen = set(sides) - {"centre"}
        return _SIDES[chosen.pop()] if len(chosen) == 1 else CENTRE
    ends = [color or _SIDES[side] for color, side in zip(own, sides)]
    return tuple(round((first + second) / 2) for first, second in zip(*ends))
