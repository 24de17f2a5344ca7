"""Writes what the app's tests run: tiny exported networks, a picture, and the poses that Python finds in it.

    python tests/android/record_models.py

The networks are painted (tests/painted.py): they find people by their colours. test_models.py checks that Python still
finds these poses; the app's tests, that Kotlin does.
"""

import json
import sys
from pathlib import Path

import cv2
import numpy as np

TESTS = Path(__file__).parents[1]
FOLDER = TESTS / "golden" / "android"
FILES = {  # name: precision, graph
    "painted_float32.tflite": ("float32", "maps"),
    "painted_int8.tflite": ("int8", "maps"),
    "painted_int8_poses.tflite": ("int8", "poses"),
}
PEOPLE = 6


def main():
    sys.path.insert(0, str(TESTS))
    from ehrnet_tf.converters.tflite import export_tflite
    from ehrnet_tf.runtime.letterbox import letterbox
    from ehrnet_tf.runtime.metadata import model_metadata
    from painted import SET, paint, picture, tiny, wide_picture

    FOLDER.mkdir(exist_ok=True)
    model = paint(tiny(keypoints=len(SET)))
    metadata = model_metadata(model, keypoints=SET)
    pictures = [picture(), letterbox(wide_picture(), (64, 64))[0]]
    for name, (precision, graph) in FILES.items():
        calibration = pictures if precision == "int8" else None
        export_tflite(model, FOLDER / name, precision, calibration, metadata=metadata, graph=graph, people=PEOPLE)
    cv2.imwrite(str(FOLDER / "picture.png"), cv2.resize(wide_picture(), (320, 160))[:, :, ::-1])
    for name, found in (("poses.json", find_poses()), ("coco_metadata.json", coco_metadata())):
        (FOLDER / name).write_text(json.dumps(found, indent=1) + "\n")


def find_poses():
    """What Python finds in the picture with each network, as `Poses.to_dict` says it."""
    from ehrnet_tf.runtime import PoseEstimator

    image = np.ascontiguousarray(cv2.imread(str(FOLDER / "picture.png"))[:, :, ::-1])
    return {name: PoseEstimator(FOLDER / name)(image).to_dict() for name in FILES}


def coco_metadata():
    """The metadata of an H-4 for COCO with the decoder inside, whose answers the app's tests make up."""
    from ehrnet_tf.keypoints import load
    from ehrnet_tf.runtime.metadata import read_metadata

    metadata = read_metadata(FOLDER / "painted_int8_poses.tflite")
    size = {"height": 384, "width": 384, "nominal": [384, 384]}
    return {**metadata, "keypoints": load("coco").to_dict(), "input": {**metadata["input"], **size}}


if __name__ == "__main__":
    main()
