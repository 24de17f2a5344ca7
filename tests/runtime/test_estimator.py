import dataclasses

import numpy as np
import pytest

from ehrnet_tf.decoding import DecoderSettings, View
from ehrnet_tf.errors import ModelFileError, UsageError
from ehrnet_tf.filters import Filters
from ehrnet_tf.keypoints import load
from ehrnet_tf.runtime.estimator import PoseEstimator, Prepared
from ehrnet_tf.runtime.letterbox import fit
from ehrnet_tf.runtime.metadata import model_metadata
from ehrnet_tf.runtime.protocol import Protocol
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
    prepared = strict.prepare(np.zeros((128, 128, 3), np.uint8))
    assert len(strict.decode(strict.run([prepared])[0], prepared)) >= 1


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


class PosesInside(Runner):
    """A file with the decoder inside: two people and an empty place, whatever the picture."""

    kind = "fake"
    name = "poses.tflite"
    graph = "poses"

    def __init__(self):
        self.input_size = (64, 64)
        self.keypoints = load("coco")
        self.metadata = {"precision": "int8"}

    def _run(self, images):
        people = np.zeros((len(images), 3, 17, 3), np.float32)
        people[:, 0] = 40, 20, 0.9
        people[:, 1, :5] = 10, 30, 0.5
        people[:, 1, 5] = 50, 50, 0  # not found
        scores = np.tile(np.array([0.9, 0.15, 0], np.float32), (len(images), 1))
        return {"keypoints": people, "scores": scores}


def test_people_from_a_file_with_the_decoder_inside():
    estimator = PoseEstimator(PosesInside(), min_score=0)
    poses = estimator(np.zeros((32, 128, 3), np.uint8))  # scale 0.5, 24 rows of border above
    assert poses.scores.tolist() == [pytest.approx(0.9), pytest.approx(0.15)]
    np.testing.assert_allclose(poses.keypoints[0], [[80, -8, 0.9]] * 17, rtol=1e-6)
    np.testing.assert_allclose(poses.keypoints[1, :5], [[20, 12, 0.5]] * 5, rtol=1e-6)
    assert not poses.keypoints[1, 5:].any()
    assert len(PoseEstimator(PosesInside())(np.zeros((32, 128, 3), np.uint8))) == 1
    assert len(PoseEstimator(PosesInside(), min_score=0, filters=Filters(min_joints=6))(np.zeros((9, 9)))) == 1
    assert estimator.describe() == "letterbox to 64x64, no flip, single scale, live decoder, decoder in the file"
    prepared = [estimator.prepare(np.zeros((h, 40, 3), np.uint8)) for h in (20, 40, 60)]
    assert [estimator.decode(o, p).image_size[0] for o, p in zip(estimator.run(prepared), prepared, strict=True)] == [
        20,
        40,
        60,
    ]


@pytest.mark.parametrize(
    "options",
    [
        {"protocol": Protocol("exact")},
        {"protocol": Protocol(sizes="reference")},
        {"protocol": Protocol("exact", True)},
        {"settings": DecoderSettings()},
    ],
)
def test_a_decoder_inside_the_file_cannot_be_told_anything(options):
    with pytest.raises(UsageError, match=r"poses\.tflite"):
        PoseEstimator(PosesInside(), **options)


@pytest.mark.parametrize("decoder", ["live", "exact"])
def test_the_padding_is_empty_for_both_decoders(decoder):
    generator = np.random.default_rng(3)
    inside = np.stack([generator.uniform(10, 50, 17), generator.uniform(40, 90, 17)], axis=1)
    below = np.stack([generator.uniform(70, 120, 17), generator.uniform(104, 124, 17)], axis=1)
    estimator = PoseEstimator(DrawnMaps([inside, below]), protocol=Protocol(decoder))
    wide = estimator(np.zeros((200, 400, 3), np.uint8))
    assert len(wide) == 1
    np.testing.assert_allclose(wide.keypoints[0, :, :2], (inside - (0, 32)) / 0.32, atol=1.0 / 0.32)
    assert len(estimator(np.zeros((400, 400, 3), np.uint8))) == 2


def test_filters_are_part_of_a_call_and_of_its_description():
    generator = np.random.default_rng(3)
    person = np.stack([generator.uniform(10, 50, 17), generator.uniform(40, 90, 17)], axis=1)
    image = np.zeros((128, 128, 3), np.uint8)
    plain = PoseEstimator(DrawnMaps([person]))
    assert len(plain(image)) == 1
    assert plain.describe() == "letterbox to 128x128, no flip, single scale, live decoder"
    strict = PoseEstimator(DrawnMaps([person]), filters=Filters(min_joints=18))
    assert len(strict(image)) == 0
    assert strict.describe() == "letterbox to 128x128, no flip, single scale, live decoder, at least 18 joints"
    prepared = strict.prepare(image)
    assert len(strict.decode(strict.run([prepared])[0], prepared)) == 0


def test_the_live_decoder_knows_the_padding_at_every_scale():
    estimator = PoseEstimator(DrawnMaps([], (64, 64)), min_score=0)
    box = fit((64, 32), (64, 64))  # 16 columns of padding on either side
    maps = {"heatmaps_2": np.zeros((48, 48, 17), np.float32), "tags": np.zeros((24, 24, 17), np.float32)}  # scale 1.5
    maps["heatmaps_2"][20, 13, 0] = 0.5  # at 18 pixels
    maps["heatmaps_2"][20, 5, 0] = maps["heatmaps_2"][20, 40, 0] = 0.9  # at 7 and 54
    poses = estimator.decode([View(maps)], Prepared((), box, (64, 64)))
    np.testing.assert_allclose(poses.keypoints[:, 0, :2], [[2, 20.5 * 64 / 48]], atol=1e-4)
