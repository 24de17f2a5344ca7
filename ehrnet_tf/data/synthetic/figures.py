"""Whole clothed human figures for the synthetic pictures: body, pose, view, clothes, keypoints.

Unit is the stature (1.0 = standing height), x and y as in the picture, z towards the viewer. A body frame is a (3, 3)
matrix whose rows are the body's left, down and forward directions.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np

from ehrnet_tf.data.synthetic.canvas import (
    LABELS,
    Canvas,
    Vector,
    plain,
    random_colour,
    random_material,
    segment,
)

TORSO, HEAD, SKIRT, OTHER = 1, 2, 3, 4
UPPER_ARM, FOREARM, THIGH, SHANK = 8, 10, 12, 14
"""Parts; those of the limbs are the left one's number, the right one's is one more."""


def yaw(degrees: float) -> np.ndarray:
    """(3, 3) turn about the down axis: forward goes towards left."""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return np.array([[c, 0, -s], [0, 1, 0], [s, 0, c]])


def pitch(degrees: float) -> np.ndarray:
    """(3, 3) turn about the left axis: up goes towards forward."""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return np.array([[1, 0, 0], [0, c, -s], [0, s, c]])


def roll(degrees: float) -> np.ndarray:
    """(3, 3) turn about the forward axis."""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return np.array([[c, s, 0], [-s, c, 0], [0, 0, 1]])


def _direction(frame: np.ndarray, side: int, flexion: float, abduction: float) -> np.ndarray:
    """(3,) unit vector that hangs down at (0, 0); degrees forwards and away from the body's middle; side 1 is left."""
    f, a = np.radians(flexion), np.radians(abduction)
    return np.array([side * np.sin(a), np.cos(f) * np.cos(a), np.sin(f) * np.cos(a)]) @ frame


# Ranges: shoulder flexion, shoulder abduction, elbow flexion (degrees); then where the elbow bends to: inwards, up.
ARMS = {
    "hang": ((-12, 20), (3, 20), (0, 40), (-0.2, 0.6), (0, 0)),
    "hip": ((-35, -15), (30, 50), (85, 110), (1.5, 3), (0, 0)),
    "fold": ((10, 45), (-5, 15), (85, 140), (0, 1.4), (0, 0)),
    "raise": ((125, 178), (0, 40), (0, 80), (0, 1), (0, 0)),
    "spread": ((-15, 25), (50, 100), (0, 60), (-0.3, 1), (-0.5, 1)),
    "reach": ((50, 110), (-10, 35), (0, 50), (-0.2, 0.8), (0, 1)),
    "behind": ((-45, -20), (5, 20), (20, 90), (0.2, 1.2), (0, 0)),
    "wave": ((-5, 25), (55, 95), (60, 125), (-0.3, 0.3), (1.5, 3)),
}
# Ranges: forward lean of the trunk; hip flexion, hip abduction and knee flexion of one leg and of the other.
POSES = {
    "stand": (0.30, (-4, 10), ((-8, 8), (1, 12), (0, 10)), ((-8, 10), (1, 12), (0, 12))),
    "walk": (0.22, (0, 12), ((12, 32), (-2, 6), (0, 15)), ((-25, -8), (-2, 6), (5, 40))),
    "run": (0.10, (5, 25), ((35, 75), (-3, 6), (30, 95)), ((-35, -5), (-3, 6), (15, 100))),
    "sit": (0.13, (-12, 25), ((70, 95), (0, 25), (65, 105)), ((70, 95), (0, 25), (65, 105))),
    "squat": (0.05, (15, 45), ((75, 115), (5, 35), (90, 135)), ((75, 115), (5, 35), (90, 135))),
    "star": (0.06, (-5, 10), ((-10, 15), (18, 42), (0, 30)), ((-10, 15), (18, 42), (0, 30))),
    "kick": (0.07, (-15, 15), ((45, 95), (0, 15), (0, 40)), ((-12, 5), (0, 8), (0, 20))),
    "bend": (0.07, (35, 85), ((-5, 25), (2, 15), (0, 25)), ((-5, 25), (2, 15), (0, 25))),
}
UPRIGHT = ("stand", "walk", "star")
SKINS = np.array([[244, 208, 180], [226, 176, 140], [198, 140, 100], [150, 98, 66], [96, 62, 44], [62, 42, 34]])
HAIRS = np.array([[28, 22, 20], [62, 40, 26], [110, 72, 40], [196, 158, 96], [168, 166, 164], [140, 56, 30]])
FACE = {  # directions in the head's frame (left, down, forward), by COCO keypoint number
    0: (0, 0.22, 1.05),
    1: (0.38, -0.08, 0.9),
    2: (-0.38, -0.08, 0.9),
    3: (1, 0.05, -0.1),
    4: (-1, 0.05, -0.1),
}


class Figure:
    """One person: body, pose, view and clothes, drawn at random; then placed, painted and annotated.

    Attributes:
      pose: which of ``POSES``; ``upright`` figures have one of ``UPRIGHT`` and face the viewer.
      turn: degrees; 0 faces the viewer, 90 the picture's right, 180 away.
      points: name -> (3,) figure frame; COCO's body joints by number (5..16) and some helpers by name.
    """

    def __init__(self, rng: np.random.Generator, upright: bool = False):
        self.rng = rng
        self._sample_body()
        self._sample_pose(upright)
        self._sample_clothes()

    def _sample_body(self) -> None:
        rng = self.rng
        child = float(np.clip(rng.uniform(-1.2, 1), 0, 1))
        self.girth = rng.uniform(0.85, 1.3)
        self.head_radii = np.array([0.054, 0.071, 0.064]) * (1 + 0.45 * child) * rng.uniform(0.95, 1.06)
        legs = (1 - 0.14 * child) * rng.uniform(0.95, 1.04)
        self.thigh, self.shank = 0.245 * legs, 0.245 * legs
        self.upper_arm, self.forearm = 0.17 * rng.uniform(0.94, 1.05), 0.148 * rng.uniform(0.94, 1.05)
        self.spine = 0.28 * rng.uniform(0.95, 1.05)
        self.shoulder = rng.uniform(0.095, 0.12) * (1 - 0.08 * child)
        self.hip = rng.uniform(0.058, 0.072)

    def _sample_pose(self, upright: bool) -> None:
        rng = self.rng
        names = UPRIGHT if upright else tuple(POSES)
        shares = np.array([POSES[n][0] for n in names])
        self.pose = str(rng.choice(names, p=shares / shares.sum()))
        _, lean, *legs = POSES[self.pose]
        view = 0.0 if upright else rng.random()
        if view < 0.45:
            self.turn = rng.normal(0, 25)
        elif view < 0.65:
            self.turn = 180 + rng.normal(0, 25)
        else:
            self.turn = rng.choice([-90, 90]) + rng.normal(0, 22)
        pelvis = yaw(self.turn)
        lean = rng.uniform(*lean)
        trunk = roll(rng.normal(0, 5)) @ pitch(lean) @ yaw(rng.normal(0, 12)) @ pelvis
        head = roll(rng.normal(0, 7)) @ pitch(rng.normal(4, 10) - 0.5 * lean) @ yaw(rng.normal(0, 22)) @ trunk
        lying = not upright and rng.random() < 0.04
        camera = pitch(rng.normal(-4, 9)) @ roll(rng.choice([-90, 90]) if lying else rng.normal(0, 5))

        points = self.points = {"pelvis": np.zeros(3), "chest": -self.spine * trunk[1]}
        points["neck"] = points["chest"] - 0.045 * trunk[1]
        points["head"] = points["neck"] - (0.01 + self.head_radii[1]) * head[1] + 0.014 * head[2]
        first = int(rng.integers(2))
        styles = self._arm_styles()
        for k, side in enumerate((1, -1)):  # left, right
            hip = points[11 + k] = side * self.hip * pelvis[0]
            flexion, abduction, knee = (rng.uniform(*r) for r in legs[k ^ first])
            points[13 + k] = hip + self.thigh * _direction(pelvis, side, flexion, abduction)
            points[15 + k] = points[13 + k] + self.shank * _direction(pelvis, side, flexion - knee, 0.5 * abduction)
            toe = _direction(pelvis, side, flexion - knee + 90 - rng.uniform(-5, 25), 0.5 * abduction + 8)
            points[f"toe{k}"] = points[15 + k] + 0.105 * toe + 0.022 * pelvis[1]
            ranges = ARMS[styles[k]]
            flexion, abduction, elbow, inward, up = (rng.uniform(*r) for r in ranges)
            if self.pose in ("walk", "run") and styles[k] == "hang":  # arms swing against the legs
                flexion = rng.uniform(10, 35) * (-1 if k == first else 1)
                elbow = rng.uniform(60, 110) if self.pose == "run" else elbow
            upper = _direction(trunk, side, flexion, abduction)
            bend = np.array([-side * inward, -up, 1.0]) @ trunk
            bend -= (bend @ upper) * upper
            bend /= max(np.linalg.norm(bend), 1e-6)
            lower = np.cos(np.radians(elbow)) * upper + np.sin(np.radians(elbow)) * bend
            shrug = 0.035 * max(0.0, float(-upper @ trunk[1]))
            shoulder = points[5 + k] = points["chest"] + side * self.shoulder * trunk[0] - shrug * trunk[1]
            points[7 + k] = shoulder + self.upper_arm * upper
            points[9 + k] = points[7 + k] + self.forearm * lower
            points[f"hand{k}"] = points[9 + k] + 0.062 * lower
        perspective = rng.uniform(0, 0.2)
        for name, point in points.items():
            point = point @ camera
            points[name] = point * np.array([1 + perspective * point[2]] * 2 + [1])
        self.trunk, self.head, self.pelvis = trunk @ camera, head @ camera, pelvis @ camera

    def _arm_styles(self) -> list[str]:
        """The ``ARMS`` of the left and the right arm."""
        rng = self.rng
        if self.pose in ("walk", "run") and rng.random() < 0.75:
            return ["hang", "hang"]
        shares = {"stand": 0.4, "walk": 0.3, "star": 0.0}.get(self.pose, 0.15)
        names = list(ARMS)
        p = [shares] + [(1 - shares) / (len(names) - 1)] * (len(names) - 1)
        styles = [str(n) for n in rng.choice(names, 2, p=p)]
        return [styles[0]] * 2 if rng.random() < 0.4 else styles

    def _sample_clothes(self) -> None:
        rng = self.rng
        tone = rng.uniform(0, len(SKINS) - 1)
        skin = [np.interp(tone, range(len(SKINS)), SKINS[:, c]) for c in range(3)]
        self.skin = plain(np.clip(np.array(skin) * rng.uniform(0.9, 1.1) + rng.normal(0, 5, 3), 10, 255))
        hair = HAIRS[rng.integers(len(HAIRS))] * rng.uniform(0.7, 1.3) + rng.normal(0, 6, 3)
        self.hair = plain(np.clip(hair, 5, 250))
        self.top, self.bottom = random_material(rng), random_material(rng, 0.75)
        self.shoes, self.hat = plain(random_colour(rng)), random_material(rng, 0.7)
        self.sleeves = float(rng.choice([0, 0.55, 1, 1.6, 2], p=[0.12, 0.33, 0.03, 0.04, 0.48]))  # 1 ends at the elbow
        self.legs = str(rng.choice(["trousers", "shorts", "skirt", "dress"], p=[0.6, 0.2, 0.12, 0.08]))
        self.leg_length = rng.uniform(0.55, 0.95)
        self.skirt_length = rng.uniform(0.5, 1.35)
        self.loose = rng.uniform(0.0, 0.012)
        self.gloves = rng.random() < 0.08
        self.barefoot = rng.random() < 0.06
        self.tights = rng.random() < 0.3
        self.hairline = rng.uniform(-0.1, 0.3) if rng.random() < 0.93 else 2.0
        self.long_hair = self.hairline < 1 and rng.random() < 0.33
        self.headwear = str(rng.choice(["none", "cap", "beanie", "brim"], p=[0.72, 0.12, 0.1, 0.06]))
        self.beard, self.glasses = rng.random() < 0.14, rng.random() < 0.14
        self.backpack = rng.random() < 0.1
        self.jacket = rng.random() < 0.3

    def extent(self) -> np.ndarray:
        """(2, 2): lowest and highest x, y of the figure, in statures, round the pelvis."""
        points = np.array(list(self.points.values()))[:, :2]
        low, high = points.min(0) - 0.03, points.max(0) + 0.03
        head = self.points["head"][:2]
        return np.array([np.minimum(low, head - 0.08), np.maximum(high, head + 0.08)])

    def place(self, origin: Vector, scale: float, person: int) -> None:
        """Puts the pelvis at ``origin`` (2,) pixels, with ``scale`` pixels a stature and this number in the labels."""
        self.origin, self.scale, self.person = np.asarray(origin, float), scale, person

    def _pixel(self, point: np.ndarray) -> np.ndarray:
        return self.origin + self.scale * point[:2]

    def draw(self, canvas: Canvas) -> None:
        """Paints all parts, the farthest first."""
        parts: list[tuple[float, Callable[[], None]]] = []

        def add(start, end, radii, material, part, bias=0.0, flat=(1.0, 1.0)):
            depth = (start[2] + end[2]) / 2 + bias
            radii = [max(0.6, r * self.scale) for r in radii]
            label = self.person * LABELS + part
            a, b = self._pixel(start), self._pixel(end)
            parts.append((depth, lambda: segment(canvas, a, b, radii, material, self.scale, label, flat)))

        for k in range(2):
            self._add_leg(add, k)
            self._add_arm(add, k)
        self._add_trunk(add)
        self._add_head(add, parts, canvas)
        for _, paint in sorted(parts, key=lambda part: part[0]):
            paint()

    def _add_leg(self, add: Callable, k: int) -> None:
        p, g = self.points, self.girth
        hip, knee, ankle, toe = p[11 + k], p[13 + k], p[15 + k], p[f"toe{k}"]
        covered = self.legs == "trousers" or self.tights
        cloth = self.bottom if covered else self.skin
        extra = self.loose if covered else 0.0
        thigh = np.array([0.062, 0.054, 0.042]) * g + extra
        shank = np.array([0.04, 0.042, 0.024]) * g + extra * np.array([1, 0.6, 1.4])
        add(hip, knee, thigh, cloth, THIGH + k, -0.05)  # a standing person's shirt hangs over the thighs
        add(knee, ankle, shank, cloth, SHANK + k, -0.03)
        if self.legs == "shorts":
            end = hip + self.leg_length * (knee - hip)
            add(hip, end, thigh + 0.007 + self.loose, self.bottom, THIGH + k, -0.048, (1, 4))
        shoe = self.skin if self.barefoot else self.shoes
        add(ankle + 0.012 * self.pelvis[1], toe, np.array([0.026, 0.024, 0.019]) * g**0.5, shoe, SHANK + k, -0.02)

    def _add_arm(self, add: Callable, k: int) -> None:
        p, g = self.points, self.girth
        shoulder, elbow, wrist, hand = p[5 + k], p[7 + k], p[9 + k], p[f"hand{k}"]
        upper = np.array([0.04, 0.035, 0.028]) * g
        lower = np.array([0.028, 0.027, 0.017]) * g
        cloth, extra = (self.top, 0.6 * self.loose) if self.sleeves >= 1 else (self.skin, 0)
        add(shoulder, elbow, upper + extra, cloth, UPPER_ARM + k, 0.02)
        add(elbow, wrist, lower, self.skin, FOREARM + k, 0.024)
        if 0 < self.sleeves < 1:
            end = shoulder + self.sleeves * (elbow - shoulder)
            add(shoulder, end, upper + 0.005 + self.loose, self.top, UPPER_ARM + k, 0.022, (1, 4))
        if self.sleeves > 1:
            end = elbow + (self.sleeves - 1) * (wrist - elbow)
            add(elbow, end, lower + 0.004 + 0.6 * self.loose, self.top, FOREARM + k, 0.025, (1, 4))
        glove = self.hat if self.gloves else self.skin
        add(wrist, hand, np.array([0.015, 0.021, 0.013]) * g**0.5, glove, FOREARM + k, 0.0235)

    def _trunk_radius(self, wide: float, deep: float) -> float:
        """Half-width in the picture of a trunk that is so wide and deep."""
        facing = abs(self.trunk[2, 2]) / max(np.hypot(self.trunk[2, 2], self.trunk[0, 2]), 1e-6)
        return float(np.hypot(wide * facing, deep * np.sqrt(1 - facing**2)))

    def _add_trunk(self, add: Callable) -> None:
        p, g = self.points, self.girth
        chest, pelvis, neck, up = p["chest"], p["pelvis"], p["neck"], -self.trunk[1]
        hips = self._trunk_radius(self.hip + 0.052 * g, 0.074 * g)
        waist = self._trunk_radius(self.hip + 0.03 * g, 0.062 * g)
        shoulders = self._trunk_radius(self.shoulder + 0.012, 0.062 * g)
        dress = self.legs == "dress"
        lower = self.top if dress else self.bottom
        seat, belt = pelvis - 0.02 * up, pelvis + 0.08 * up
        under = min(0.0, (chest[2] + pelvis[2] - seat[2] - belt[2]) / 2) - 0.006  # the shirt goes over the trousers
        add(seat, belt, (hips, hips, waist), lower, TORSO, under, (2.2, 1))
        add(pelvis + 0.01 * up, chest, (hips, waist, shoulders), self.top, TORSO, 0.0, (6, 2.4))
        if self.jacket and self.trunk[2, 2] > 0.25:  # an open front that shows the shirt
            front = 0.05 * self.trunk[2] * np.array([1, 1, 0])
            width = 0.032 * self.trunk[2, 2]
            add(pelvis + 0.02 * up + front, chest + front, (width, width * 0.9, width), self.hat, TORSO, 0.004, (6, 3))
        add(chest - 0.01 * up, p["neck"] + 0.03 * up, (0.034, 0.03, 0.03), self.skin, TORSO, 0.003)
        if self.legs in ("skirt", "dress"):
            knees = (p[13] + p[14]) / 2
            hem = pelvis + self.skirt_length * (knees - pelvis)
            down = (knees - pelvis)[:2] / max(np.linalg.norm((knees - pelvis)[:2]), 0.05)
            apart = (p[13] - p[14])[:2]
            spread = abs(down[0] * apart[1] - down[1] * apart[0])
            wide = max(hips, 0.5 * spread * min(self.skirt_length, 1.1) + 0.058 * g + 0.008)
            front = max(0.0, p[13][2], p[14][2]) / 2
            add(pelvis, hem, (hips, (hips + wide) / 2, wide), lower, SKIRT, front + 0.004, (2, 6))
        if self.backpack:
            back = neck - 0.1 * self.trunk[2]
            wide = self._trunk_radius(0.085, 0.055)
            add(back - 0.24 * up, back - 0.07 * up, (wide, wide * 1.05, wide * 0.9), self.hat, OTHER, 0, (3, 2))

    def _face_point(self, direction: Vector) -> np.ndarray:
        """(3,) of a point of the head given by its direction (left, down, forward) in the head's frame."""
        return self.points["head"] + (np.asarray(direction) * self.head_radii) @ self.head

    def _add_head(self, add: Callable, parts: list, canvas: Canvas) -> None:
        head, (rx, ry, rz) = self.points["head"], self.head_radii
        up, forward = -self.head[1], self.head[2]
        if self.long_hair:
            top = head - 0.35 * rz * forward
            tips = top - 2.0 * ry * up - 0.01 * forward
            add(top, tips, (rx * 1.1, rx * 1.05, rx * 0.8), self.hair, OTHER, -0.001, (1, 2))
        parts.append((head[2] + 0.01, lambda: self._paint_head(canvas)))
        for k in (3, 4):
            if not self.long_hair:
                ear = self._face_point(FACE[k])
                bias = 0.011 if self._facing(k) > -0.1 else -0.2
                add(ear, ear + 0.01 * up, (0.011, 0.013, 0.013), self.skin, HEAD, head[2] - ear[2] + bias)
        nose, bridge = self._face_point(FACE[0]), self._face_point((0, 0, 0.97))
        shaded = dataclasses.replace(self.skin, first=self.skin.first * np.float32(0.9), second=self.skin.first)
        bias = head[2] - (nose[2] + bridge[2]) / 2 + (0.012 if forward[2] > -0.1 else -0.2)
        add(bridge, nose, (0.005, 0.008, 0.012), shaded, HEAD, bias)
        if self.headwear == "brim":
            side = np.array([-up[1], up[0], 0]) / max(np.hypot(up[0], up[1]), 0.1) * 1.7 * rx
            middle = self._face_point((0, -0.5, 0))
            bias = head[2] + 0.0125 - middle[2]
            add(middle - side, middle + side, (0.008, 0.016, 0.008), self.hat, OTHER, bias)
        if self.headwear == "cap":
            brow = self._face_point((0, -0.5, 0.75))
            bias = head[2] + 0.0125 - brow[2] if forward[2] > -0.1 else -0.1
            add(brow, brow + 0.05 * forward, (rx * 0.7, rx * 0.6, 0.012), self.hat, OTHER, bias, (6, 2))

    def _facing(self, keypoint: int) -> float:
        """How much a point of the face (COCO number) looks at the viewer: 1 straight, 0 at the outline, -1 away."""
        direction = np.asarray(FACE[keypoint])
        return float((direction @ self.head)[2] / np.linalg.norm(direction))

    def _paint_head(self, canvas: Canvas) -> None:
        up = -self.head[1, :2]
        up = up / max(np.hypot(*up), 1e-6)
        right = np.array([-up[1], up[0]])
        half = [self.scale * np.linalg.norm(self.head_radii * (self.head[:, :2] @ axis)) for axis in (right, up)]
        centre = self._pixel(self.points["head"])
        window = canvas.window(centre - max(half) - 2, centre + max(half) + 2)
        if window is None:
            return
        rows, columns, xs, ys = window
        px, py = xs - np.float32(centre[0]), ys - np.float32(centre[1])
        a = (px * np.float32(right[0]) + py * np.float32(right[1])) / np.float32(half[0])
        b = (px * np.float32(up[0]) + py * np.float32(up[1])) / np.float32(half[1])
        square = a * a + b * b
        alpha = np.clip((1 - np.sqrt(square)) * np.float32(min(half)) + np.float32(0.5), 0, 1)
        c = np.sqrt(np.maximum(1 - square, 0))
        normal = np.stack([a * right[0] + b * up[0], a * right[1] + b * up[1], c], -1).astype(np.float32)
        left, down, forward = np.moveaxis(normal @ self.head.T.astype(np.float32), -1, 0)

        def lay(where: np.ndarray, paint: Vector) -> None:
            nonlocal colour
            colour = colour + np.clip(where, 0, 1)[..., None] * (np.asarray(paint, np.float32) - colour)

        colour = np.broadcast_to(self.skin.first, normal.shape)
        front = forward > 0.1
        if self.beard:
            lay((down - 0.3) * 8 * (forward > 0), self.hair.first)
        lay((1 - (left / 0.33) ** 2 - ((down - 0.55) / 0.1) ** 2) * 2 * front, self.skin.first * [0.75, 0.5, 0.5])
        for side in (-0.38, 0.38):
            spot = (left - side) ** 2 + (1.6 * (down + 0.08)) ** 2
            lay((0.055 - spot) * 40 * front, (40, 40, 45) if self.glasses else (235, 230, 225))
            lay((0.02 - spot) * 90 * front, (35, 25, 20))
            lay((1 - ((left - side) / 0.24) ** 2 - ((down + 0.3) / 0.06) ** 2) * 2 * front, self.hair.first * 0.8)
        hairline = self.hairline - 0.25 if self.long_hair else self.hairline
        lay((-0.8 * down - 0.62 * forward - hairline) * 8 + 0.5, self.hair.first)
        if self.headwear != "none":
            lay((-down - 0.42) * 10 + 0.5, self.hat.first)
        shade = 0.5 + 0.6 * np.maximum(normal @ canvas.light.astype(np.float32), 0)
        canvas.paint(rows, columns, alpha, colour * shade[..., None], self.person * LABELS + HEAD)

    def keypoints(self, label: np.ndarray) -> np.ndarray:
        """COCO keypoints (17, 3) float64: x, y in pixels and visibility, given the finished picture's labels (H, W).

        Visible (2) is what the labels show to be this person's part at that joint and that is on the near side of the
        body; outside the picture is 0, and so are eyes and nose of a head that is turned away.
        """
        height, width = label.shape
        found = np.zeros((17, 3))
        for k in range(17):
            point = self._face_point(FACE[k]) if k < 5 else self.points[k]
            x, y = self._pixel(point)
            inside = 0 <= x < width - 0.01 and 0 <= y < height - 0.01
            if not inside or (k < 5 and self._unlabelled(k)):
                continue
            person, part = divmod(int(label[int(y), int(x)]), LABELS)
            found[k] = x, y, 2 if person == self.person and self._shows(k, part) else 1
        return found

    def _unlabelled(self, k: int) -> bool:
        """Whether an annotator would leave out this point of the face."""
        if k < 3:
            return self.head[2, 2] < -0.5
        return self._facing(k) < -0.6

    def _shows(self, k: int, part: int) -> bool:
        """Whether this part of the same person, seen at keypoint k, means that k is visible."""
        if k < 5:
            covered = k > 2 and self.long_hair
            return part == HEAD and not covered and self._facing(k) > (-0.15, 0, 0, -0.3, -0.3)[k]
        side = 1 - k % 2
        if k in (5, 6):
            near = self.points[k][2] - self.points["chest"][2] > -0.72 * self.shoulder
            return part == UPPER_ARM + side or (part == TORSO and near)
        if k in (11, 12):
            near = self.points[k][2] > -0.72 * self.hip
            return part == THIGH + side or (part in (TORSO, SKIRT) and near)
        own = {7: (UPPER_ARM, FOREARM), 9: (FOREARM,), 13: (THIGH, SHANK), 15: (SHANK,)}[k - side]
        return part - side in own
