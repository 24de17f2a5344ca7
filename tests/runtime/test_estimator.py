import dataclasses

import numpy as np
import pytest

from ehrnet_tf.decoding import DecoderSettings
from ehrnet_tf.errors import ModelFileError, UsageError
from ehrnet_tf.keypoints import load
from ehrnet_tf.runtime.estimator import PoseEstimator
from ehrnet_tf.runtime.metadata import model_metadata
from ehrnet_tf.runtime.runners import KerasRunner, Runner


class DrawnMaps(Runner):
    """Maps with a peak for every given keypoint, whatever the picture: what a perfect network would return."""

    kind = "drawn"
    name = "drawn"

    def __init__(self, people, size=(128, 128)):
        self.people = people  # (N, K, 2) in input pixels
        self.input_size = size
        self.keypoints = load("coco")
        self.metadata = {}

    def _run(self, images):
        height, width = self.input_size
        maps = {
            "heatmaps_4": np.zeros((height // 4, width // 4, 17), np.float32),
            "tags": np.zeros((height // 4, width // 4, 17), np.float32),
            "heatmaps_2": np.zeros((height // 2, width // 2, 17), np.float32),
        }
        for number, person in enumerate(self.people):
            for k, (x, y) in enumerate(person):
                for name, stride in (("heatmaps_4", 4), ("heatmaps_2", 2)):
                    plane = maps[name][..., k]
                    rows, columns = np.indices(plane.shape) + 0.5
                    squared = (columns - x / stride) ** 2 + (rows - y / stride) ** 2
                    np.maximum(plane, np.exp(-squared / 8), out=plane)
                    if stride == 4:
                        maps["tags"][..., k][squared < 16] = 5 * number
        return {name: np.repeat(values[None], len(images), axis=0) for name, values in maps.items()}


def test_poses_come_back_in_picture_pixels():
    generator = np.random.default_rng(3)
    first = np.stack([generator.uniform(10, 50, 17), generator.uniform(40, 90, 17)], axis=1)
    second = first + (60, 0)
    estimator = PoseEstimator(DrawnMaps([first, second]))
    poses = estimator(np.zeros((200, 400, 3), np.uint8))  # scale 0.32, 32 rows of border above and below
    assert len(poses) == 2
    assert poses.image_size == (200, 400)
    order = np.argsort(poses.keypoints[:, 0, 0])
    for person, expected in zip(poses.keypoints[order], (first, second), strict=True):
        np.testing.assert_allclose(person[:, :2], (expected - (0, 32)) / 0.32, atol=1.0 / 0.32)
    assert (poses.keypoints[..., 2] > 0.7).all()


def test_nobody_stands_in_the_padding():
    generator = np.random.default_rng(3)
    inside = np.stack([generator.uniform(10, 50, 17), generator.uniform(40, 90, 17)], axis=1)
    outside = np.stack([generator.uniform(70, 120, 17), generator.uniform(4, 24, 17)], axis=1)
    estimator = PoseEstimator(DrawnMaps([inside, outside]))
    assert len(estimator(np.zeros((200, 400, 3), np.uint8))) == 1  # 32 rows of border above and below
    assert len(estimator(np.zeros((400, 400, 3), np.uint8))) == 2


def test_doubtful_people_are_left_out_of_a_call_only():
    person = np.random.default_rng(3).uniform(10, 100, (17, 2))
    maps = DrawnMaps([person])
    assert len(PoseEstimator(maps, min_score=0.0)(np.zeros((128, 128, 3), np.uint8))) >= 1
    strict = PoseEstimator(maps, min_score=1.5)
    assert len(strict(np.zeros((128, 128, 3), np.uint8))) == 0
    prepared, box = strict.prepare(np.zeros((128, 128, 3), np.uint8))
    assert len(strict.decode({k: v[0] for k, v in strict.run(prepared[None]).items()}, box)) >= 1


def test_nobody():
    poses = PoseEstimator(DrawnMaps([]))(np.zeros((50, 20, 3), np.uint8))
    assert poses.keypoints.shape == (0, 17, 3)
    assert poses.to_coco(1) == []


@pytest.mark.parametrize("shape", [(1, 1, 3), (1, 300, 3), (50, 60), (50, 60, 4)])
def test_any_picture(shape, tflite_file):
    poses = PoseEstimator(tflite_file)(np.full(shape, 80, np.uint8))
    assert poses.image_size == shape[:2]


def test_settings_come_from_the_file(build_tiny):
    model = build_tiny()
    settings = DecoderSettings(threshold=0.3)
    metadata = model_metadata(model, decoder=dataclasses.asdict(settings))
    assert PoseEstimator(KerasRunner(model, metadata=metadata)).settings == settings
    other = DecoderSettings(refine=False)
    assert PoseEstimator(KerasRunner(model, metadata=metadata), settings=other).settings == other
    metadata["decoder"]["speed"] = 3
    with pytest.raises(ModelFileError, match="speed"):
        PoseEstimator(KerasRunner(model, metadata=metadata))


def test_input_size(build_tiny, tiny_model):
    free = build_tiny((None, None))
    assert PoseEstimator(free).input_size == (384, 384)
    assert PoseEstimator(free, input_size=(64, 96)).input_size == (64, 96)
    assert PoseEstimator(tiny_model, input_size=64).input_size == (64, 64)
    with pytest.raises(UsageError, match="multiples of 32"):
        PoseEstimator(free, input_size=100)
    with pytest.raises(UsageError, match="fixed at 64x64"):
        PoseEstimator(tiny_model, input_size=96)
    with pytest.raises(UsageError, match="give input_size="):
        PoseEstimator(build_tiny((None, None), name="mine"))
