"""Makes what a page takes for granted: data, pictures, videos, a keypoint set, a checkpoint, classes."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import cv2
import numpy as np

import painted
from ehrnet_tf import keypoints

from . import network, table

TRAIN, VAL = 17, 2  # pictures; 16 of them are asked for by one page


def maker(name: str):
    """The function of a path that makes what has this name, or None where it is nothing of this module's."""
    suffix = os.path.splitext(name)[1].lower()
    for names, make in (
        (table.CARDS, lambda path: write_data(path, "corners")),
        (table.CLASSES, write_classes),
        (table.PICTURES, write_pictures),
    ):
        if name in names:
            return make
    if suffix in (".jpg", ".png"):
        return write_picture
    if suffix in (".mp4", ".mov"):
        return write_video
    return {"checkpoint.npz": write_checkpoint, "whole.keras": write_whole}.get(name)


def write_picture(path: Path) -> None:
    """Two painted people."""
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), painted.picture()[:, :, ::-1])


def write_pictures(path: Path) -> None:
    """A folder of three pictures."""
    for number in range(3):
        write_picture(path / f"{number}.jpg")


def write_classes(path: Path) -> None:
    """Two classes, for training and for validation."""
    for name, value in (("dark", 20), ("light", 220)):
        for number in range(4):
            picture = path / name / f"{number}.png"
            picture.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(picture), np.full((32, 32, 3), value, np.uint8))


def write_video(path: Path) -> None:
    """Six frames."""
    from ehrnet_tf.video.writer import VideoWriter

    with VideoWriter(path, 10) as writer:
        for number in range(6):
            writer.write(painted.picture((number, 0)), number / 10)


def write_data(path: Path, set_name: str = "coco") -> None:
    """Pictures of two painted people each, in COCO's layout; their annotations say what a network finds there."""
    keypoint_set = keypoints.load(set_name)
    (path / "annotations").mkdir(parents=True)
    for split, count in (("train2017", TRAIN), ("val2017", VAL)):
        (path / split).mkdir()
        images, annotations = [], []
        for number in range(1, count + 1):
            shift = np.array((number % 3, number % 2))
            images.append({"id": number, "file_name": f"{number}.png", "height": 64, "width": 64})
            cv2.imwrite(str(path / split / f"{number}.png"), painted.picture(shift)[:, :, ::-1])
            for places in network.people(keypoint_set) + shift:
                low, high = places.min(axis=0), places.max(axis=0)
                annotations.append(
                    {
                        "id": len(annotations) + 1,
                        "image_id": number,
                        "category_id": 1,
                        "iscrowd": 0,
                        "keypoints": np.column_stack((places, np.full(len(places), 2))).ravel().tolist(),
                        "num_keypoints": len(places),
                        "bbox": [*low.tolist(), *(high - low).tolist()],
                        "area": 1100.0,
                    }
                )
        categories = [{"id": 1, "name": keypoint_set.category, "keypoints": list(keypoint_set.names)}]
        content = {"images": images, "annotations": annotations, "categories": categories}
        (path / "annotations" / f"person_keypoints_{split}.json").write_text(json.dumps(content))


def whole(variant: str = "H-4"):
    """A whole network, untrained; the importer knows the published variants only."""
    from ehrnet_tf.models.efficienthrnet import EfficientHRNet

    return EfficientHRNet(variant, 64, tags_on_both_stages=True)


def write_whole(path: Path) -> None:
    """Its file, which `write_checkpoint` writes beside the checkpoint."""
    checkpoint = path.with_name("checkpoint.npz")
    if not checkpoint.exists():
        write_checkpoint(checkpoint)


def write_checkpoint(path: Path) -> None:
    """A whole network as whole.keras, and its weights in the original's names."""
    from ehrnet_tf.converters.to_pytorch import export_pytorch
    from ehrnet_tf.runtime.metadata import model_metadata, save_keras

    model = whole()
    path.parent.mkdir(parents=True, exist_ok=True)
    save_keras(model, path.with_name("whole.keras"), model_metadata(model, keypoints="coco"))
    export_pytorch(model, path)


def copy(source: Path, target: Path) -> None:
    """Copies a file or a folder; links folders of data that nothing writes into."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_symlink():
        target.symlink_to(source.resolve())
    elif source.is_dir():
        shutil.copytree(source, target, symlinks=True)
    else:
        shutil.copyfile(source, target)
