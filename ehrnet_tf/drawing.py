"""Drawing poses: limbs and joints in colours that tell the sides apart, to the colour-blind as well."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from ehrnet_tf.errors import UsageError
from ehrnet_tf.keypoints import Color, KeypointSet

# From the palette of Okabe and Ito, "Color Universal Design", 2008; RGB.
LEFT = (86, 180, 233)
RIGHT = (240, 145, 20)
CENTRE = (0, 190, 140)
_SIDES = {"left": LEFT, "right": RIGHT, "centre": CENTRE}
_DARK = (25, 25, 30)
_SHIFT = 4  # OpenCV's fixed-point coordinates: 1/16 pixel


def draw_poses(
    image: np.ndarray,
    keypoints: np.ndarray,
    keypoint_set: KeypointSet,
    scores: Sequence[float] | np.ndarray | None = None,
    min_score: float = 0.1,
    labels: Sequence[str] | None = None,
) -> np.ndarray:
    """Draws people on a copy of a picture.

    A keypoint has the colour that the set gives it, a limb the mean of its ends'. Where the set gives none, left, right
    and central limbs have different colours, told from keypoint names that begin with left_ and right_. Lines become
    thicker with the person and the picture, and more transparent with a lower score.

    Args:
      image: (H, W, 3) uint8, RGB.
      keypoints: (N, K, 3): x and y in pixels, in the continuous frame (the first pixel's centre is 0.5, 0.5), score.
      keypoint_set: its names, skeleton and colours.
      scores: (N,) scores of the people, written beside the head; None: nothing is written.
      min_score: joints below this, and their limbs, are not drawn.
      labels: N texts to write instead of the scores.

    Returns:
      (H, W, 3) uint8, RGB, a new array.

    Raises:
      UsageError: the picture or the keypoints have another shape or dtype.
    """
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise UsageError(f"picture {image.shape} {image.dtype}: give (H, W, 3) uint8, e.g. by images.to_rgb_uint8")
    keypoints = np.asarray(keypoints, np.float32)
    if keypoints.ndim != 3 or keypoints.shape[1:] != (len(keypoint_set), 3):
        raise UsageError(f"keypoints {keypoints.shape}: give (N, {len(keypoint_set)}, 3)")
    if labels is None:
        labels = [""] * len(keypoints) if scores is None else [f"{score:.2f}" for score in scores]
    if len(labels) != len(keypoints):
        raise UsageError(f"{len(labels)} labels or scores for {len(keypoints)} people: give one each")
    result = np.array(image, order="C")
    anchors = []
    for joints in keypoints:
        visible = np.isfinite(joints).all(axis=1) & (joints[:, 2] >= min_score) & (joints[:, 2] > 0)
        anchors.append(_draw_person(result, joints, visible, keypoint_set) if visible.any() else None)
    for anchor, label in zip(anchors, labels):
        if anchor is not None and label:
            _draw_label(result, label, anchor)
    return result


def _draw_person(image: np.ndarray, joints: np.ndarray, visible: np.ndarray, keypoint_set: KeypointSet) -> np.ndarray:
    """Draws one person into ``image``; returns where a label may stand: the middle above the highest joint, x and y.

    The person is drawn on a layer of premultiplied colour and alpha, only as large as needed, and blended in one go.
    """
    height, width = image.shape[:2]
    points = np.clip(joints[:, :2], -width - height, 2 * (width + height))
    seen = points[visible]
    extent = np.ptp(seen, axis=0).max()
    short = min(height, width)
    thickness = round(float(np.clip(extent / 45, max(1.5, short / 300), max(2, short / 80))))
    radius = thickness * 0.95 + 0.5
    margin = 3 * thickness + 4
    left, top = np.clip(np.floor(seen.min(axis=0)).astype(int) - margin, 0, (width, height))
    right, bottom = np.clip(np.ceil(seen.max(axis=0)).astype(int) + margin, 0, (width, height))
    anchor = seen[seen[:, 1].argmin()] - (0, radius + 3 + 0.05 * extent)
    if right <= left or bottom <= top:
        return anchor
    layer = np.zeros((bottom - top, right - left, 4), np.uint8)
    fixed = np.rint((points - (left + 0.5, top + 0.5)) * (1 << _SHIFT)).astype(int)
    opacity = 0.3 + 0.7 * np.clip(joints[:, 2], 0, 1)
    limbs = [(a, b) for a, b in keypoint_set.skeleton if visible[a] and visible[b]]
    edge = max(1, thickness // 3)
    for extra in (2 * edge, 0):
        for a, b in limbs:
            colour = _DARK if extra else limb_color(keypoint_set, a, b)
            ends = fixed[a].tolist(), fixed[b].tolist()
            cv2.line(layer, *ends, _rgba(colour, min(opacity[a], opacity[b])), thickness + extra, cv2.LINE_AA, _SHIFT)
    for k in np.flatnonzero(visible):
        centre = fixed[k].tolist()
        for colour, size in ((_DARK, radius + edge), (limb_color(keypoint_set, k, k), radius)):
            disc = round(size * (1 << _SHIFT))
            cv2.circle(layer, centre, disc, _rgba(colour, opacity[k]), cv2.FILLED, cv2.LINE_AA, _SHIFT)
    region = image[top:bottom, left:right]
    through = cv2.cvtColor(255 - layer[:, :, 3], cv2.COLOR_GRAY2RGB)
    region[:] = cv2.add(cv2.multiply(region, through, scale=1 / 255), np.ascontiguousarray(layer[:, :, :3]))
    return anchor


def _draw_label(image: np.ndarray, label: str, anchor: np.ndarray) -> None:
    """Writes a light text on a dark ground, centred above ``anchor`` and inside the picture."""
    height, width = image.shape[:2]
    scale = float(np.clip(min(height, width) / 1200, 0.35, 1.2))
    stroke = max(1, round(scale * 1.2))
    (text_width, text_height), _ = cv2.getTextSize(label, cv2.FONT_HERSHEY_SIMPLEX, scale, stroke)
    pad = max(2, round(text_height * 0.4))
    x = int(np.clip(anchor[0] - text_width / 2, pad, max(pad, width - text_width - pad)))
    y = int(np.clip(anchor[1] - pad, text_height + pad, max(text_height + pad, height - pad)))
    ground = image[max(0, y - text_height - pad) : y + pad, max(0, x - pad) : x + text_width + pad]
    ground[:] = cv2.addWeighted(ground, 0.25, np.full_like(ground, _DARK), 0.75, 0)
    cv2.putText(image, label, (x, y), cv2.FONT_HERSHEY_SIMPLEX, scale, (255, 255, 255), stroke, cv2.LINE_AA)


def _side(name: str) -> str:
    """The side of the body that a keypoint's name tells: "left", "right" or "centre"."""
    return next((side for side in ("left", "right") if name.lower().startswith(f"{side}_")), "centre")


def limb_color(keypoint_set: KeypointSet, a: int, b: int) -> Color:
    """The colour, RGB, of the limb between two keypoints, or of one keypoint if they are the same.

    Where neither end has a colour of its own and one is on a side of the body, the other in the centre: the side's.
    """
    own = [keypoint_set.colors[k] if keypoint_set.colors else None for k in (a, b)]
    sides = [_side(keypoint_set.names[k]) for k in (a, b)]
    if not any(own):
        chosen = set(sides) - {"centre"}
        return _SIDES[chosen.pop()] if len(chosen) == 1 else CENTRE
    ends = [color or _SIDES[side] for color, side in zip(own, sides)]
    return tuple(round((first + second) / 2) for first, second in zip(*ends))


def _rgba(colour: Color, opacity: float) -> tuple[float, ...]:
    """Premultiplied colour and alpha, 0..255."""
    return (*(float(c * opacity) for c in colour), float(255 * opacity))
