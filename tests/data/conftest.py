"""Tiny COCO keypoint folders, made on the spot."""

import json

import cv2
import numpy as np
import pytest

from ehrnet_tf import keypoints

COCO = keypoints.load("coco")


class CocoFolder:
    """A data set under construction: add pictures and people, `write` the json."""

    def __init__(self, root, split="train"):
        self.root, self.split = root, split
        self.data = {
            "images": [],
            "annotations": [],
            "categories": [{"id": 1, "name": "person", "keypoints": list(COCO.names)}],
        }
        (root / split).mkdir(parents=True)
        (root / "annotations").mkdir()

    @property
    def json_path(self):
        return self.root / "annotations" / f"person_keypoints_{self.split}.json"

    def picture(self, height=48, width=64, suffix=".png", pixels=None):
        """Adds a picture (noise unless `pixels` (H, W, 3) RGB are given); its id."""
        image_id = len(self.data["images"]) + 1
        if pixels is None:
            pixels = np.random.default_rng(image_id).integers(0, 256, (height, width, 3), np.uint8)
        height, width = pixels.shape[:2]
        name = f"{image_id:06d}{suffix}"
        assert cv2.imwrite(str(self.root / self.split / name), pixels[..., ::-1])
        self.data["images"].append({"id": image_id, "file_name": name, "width": width, "height": height})
        return image_id

    def person(self, image_id, points=((10, 12),), **more):
        """Adds a person whose first keypoints lie at `points` (v = 2); its annotation, to be changed at will."""
        values = np.zeros((len(COCO), 3))
        for k, point in enumerate(points):
            values[k] = *point, 2
        annotation = {
            "id": 100 + len(self.data["annotations"]),
            "image_id": image_id,
            "category_id": 1,
            "iscrowd": 0,
            "bbox": [4, 6, 20, 30],
            "area": 400.0,
            "segmentation": [],
            "keypoints": values.ravel().tolist(),
            "num_keypoints": len(points),
            **more,
        }
        self.data["annotations"].append(annotation)
        return annotation

    def write(self):
        self.json_path.write_text(json.dumps(self.data))
        return self.root


@pytest.fixture
def coco_folder(tmp_path):
    return CocoFolder(tmp_path / "set")
