"""Test-time options: the reference's procedure and ours, from the picture to its people."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ehrnet_tf.decoding import decode_live
from ehrnet_tf.decoding.reference import decode_plainly
from ehrnet_tf.errors import DataError, UsageError
from ehrnet_tf.keypoints import load
from ehrnet_tf.runtime.estimator import PoseEstimator
from ehrnet_tf.runtime.letterbox import letterbox
from ehrnet_tf.runtime.protocol import Protocol
from ehrnet_tf.runtime.runners import Runner, open_runner

MIRRORED = [0, 2, 1, 4, 3, 6, 5, 8, 7, 10, 9, 12, 11, 14, 13, 16, 15]
SCALES = (0.5, 1.0, 2.0)
PICTURES = [(45, 71), (71, 45), (64, 64), (33, 101)]


class Textures(Runner):
    """A network of one blurring layer: maps are mixtures of the picture's colours, smooth and with a few peaks.

    Its view of a mirrored picture is another one, unless it is told to treat both sides alike.
    """

    kind = "fake"
    name = "textures"

    def __init__(self, size=None, nominal=(64, 64), alike=False, spread=0.7):
        self.input_size = size
        self.metadata = {"input": {"nominal": list(nominal)}}
        self.keypoints = load("coco")
        self.alike, self.spread = alike, spread
        self.batches = []
        generator = np.random.default_rng(5)
        self.mixtures = {name: generator.normal(size=(3, 17)) for name in ("heatmaps_4", "heatmaps_2", "tags")}
        self.kernel = generator.uniform(size=(5, 5))

    def _run(self, images):
        self.batches.append(images.shape[:3])
        maps = [self.look(image) for image in images]
        return {name: np.stack([each[name] for each in maps]) for name in maps[0]}

    def look(self, image):
        maps = self._maps(image)
        if self.alike:
            mirrored = self._maps(np.ascontiguousarray(image[:, ::-1]))
            maps = {name: (values + mirrored[name][:, ::-1][:, :, MIRRORED]) / 2 for name, values in maps.items()}
        return {name: np.ascontiguousarray(values, np.float32) for name, values in maps.items()}

    def _maps(self, image):
        pixels = image.astype(np.float64) / 255
        maps = {}
        for name, stride in (("heatmaps_4", 4), ("heatmaps_2", 2), ("tags", 4)):
            height, width = image.shape[0] // stride, image.shape[1] // stride
            small = cv2.filter2D(cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA), -1, self.kernel)
            maps[name] = small / self.kernel.sum() @ self.mixtures[name] - 0.3
        maps["tags"] *= self.spread
        return maps


def picture(size, seed=0):
    """Smooth coloured blobs, darker towards the edges."""
    generator = np.random.default_rng([seed, *size])
    height, width = size
    coarse = generator.uniform(0, 255, (height // 12 + 2, width // 12 + 2, 3)).astype(np.float32)
    fine = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC).clip(0, 255)
    light = np.outer(*(np.sin(np.pi * (np.arange(side) + 0.5) / side) for side in size))
    return (fine * np.minimum(1, 2 * light[:, :, None])).astype(np.uint8)


def reference_poses(network, image, nominal, flip, scales):
    """Keypoints (N, 17, 3) and scores (N,) by the steps of the reference's procedure, one after the other."""
    height, width = image.shape[:2]
    centre = np.array([int(width / 2 + 0.5), int(height / 2 + 0.5)])
    smallest = min(scales)
    base = int((smallest * nominal + 63) // 64 * 64)

    def size_at(scale):
        short = int(base * scale / smallest)
        long = int(int((base / min(height, width) * max(height, width) + 63) // 64 * 64) * scale / smallest)
        return (long, short) if height > width else (short, long)  # height, width

    def enlargement(size):
        return min(size) / min(height, width)

    def look(inputs, size):
        """Heat and tags of one input at the size of scale 1, in float64."""
        maps = network.look(inputs)
        middle = maps["heatmaps_2"].shape[:2]
        heat = (bilinear(maps["heatmaps_4"], middle) + maps["heatmaps_2"]) / 2
        return bilinear(heat, size), bilinear(bilinear(maps["tags"], middle), size)

    projected = size_at(1)
    heats, tags = [], None
    for scale in scales:
        rows, columns = size_at(scale)
        factor = enlargement((rows, columns))
        shift = np.array([columns / 2, rows / 2]) - factor * centre
        matrix = np.array([[factor, 0, shift[0]], [0, factor, shift[1]]])
        inputs = cv2.warpAffine(image, matrix, (columns, rows), flags=cv2.INTER_LINEAR)
        views = [look(inputs, projected)]
        if flip:
            heat, tag = look(np.ascontiguousarray(inputs[:, ::-1]), projected)
            # mirrored after projection: half-pixel centres make that the same
            views.append((heat[:, ::-1][:, :, MIRRORED], tag[:, ::-1][:, :, MIRRORED]))
        heats.append(np.mean([heat for heat, _ in views], axis=0))
        if scale == 1 or len(scales) == 1:
            tags = np.stack([tag for _, tag in views], axis=-1)
    people, scores = decode_plainly(np.mean(heats, axis=0), tags)
    keypoints = people[:, :, :3].astype(float)
    middle = np.array([projected[1] / 2, projected[0] / 2])
    keypoints[:, :, :2] = (keypoints[:, :, :2] - middle) / enlargement(projected) + centre
    return keypoints, scores


def bilinear(maps, size):
    """Bilinear interpolation with half-pixel centres and clamped borders, straight from its definition."""
    maps = maps.astype(np.float64)
    for axis, length in enumerate(size):
        position = np.clip((np.arange(length) + 0.5) * maps.shape[axis] / length - 0.5, 0, maps.shape[axis] - 1)
        low = np.floor(position).astype(int)
        high = np.minimum(low + 1, maps.shape[axis] - 1)
        share = (position - low).reshape(-1, *[1] * (maps.ndim - axis - 1))
        maps = maps.take(low, axis) * (1 - share) + maps.take(high, axis) * share
    return maps


@pytest.mark.parametrize("scales", [(1.0,), SCALES, (2.0, 1.0), (0.5,)])
@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("size", PICTURES)
def test_the_whole_reference_procedure(size, flip, scales):
    network, image = Textures(), picture(size)
    protocol = Protocol("exact", flip, scales, "reference")
    poses = PoseEstimator(network, min_score=0, protocol=protocol)(image)
    keypoints, scores = reference_poses(network, image, 64, flip, scales)
    assert len(scores) >= 3
    np.testing.assert_allclose(poses.scores, scores, atol=1e-3)
    np.testing.assert_allclose(poses.keypoints, keypoints, atol=1e-3)


def letterbox_poses(network, image, size, flip, scales):
    """Keypoints (N, 17, 3) and scores (N,) of the exact decoder on letterboxed inputs, step by step."""
    heats, tags = [], None
    for scale in scales:
        inputs, _ = letterbox(image, [int(side * scale) for side in size])
        views = [network.look(inputs)]
        if flip:
            mirrored = network.look(np.ascontiguousarray(inputs[:, ::-1]))
            views.append({name: values[:, ::-1][:, :, MIRRORED] for name, values in mirrored.items()})
        for maps in views:
            middle = maps["heatmaps_2"].shape[:2]
            heats.append(bilinear((bilinear(maps["heatmaps_4"], middle) + maps["heatmaps_2"]) / 2, size))
        if scale == 1:
            middle = views[0]["heatmaps_2"].shape[:2]
            tags = np.stack([bilinear(bilinear(maps["tags"], middle), size) for maps in views], axis=-1)
    factor = min(size[0] / image.shape[0], size[1] / image.shape[1])
    margin = (np.array(size) - factor * np.array(image.shape[:2])) / 2  # above, left
    heat = np.mean(heats, axis=0)
    for axis in (0, 1):
        cells = np.arange(size[axis])
        outside = (cells + 1 <= margin[axis] + 1e-6) | (cells >= size[axis] - margin[axis] - 1e-6)
        heat[outside if axis == 0 else (slice(None), outside)] = 0
    people, scores = decode_plainly(heat, tags)
    keypoints = people[:, :, :3].astype(float)
    keypoints[:, :, :2] = (keypoints[:, :, :2] - margin[::-1]) / factor
    return keypoints, scores


@pytest.mark.parametrize("scales", [(1.0,), SCALES])
@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("size", PICTURES)
def test_the_exact_decoder_in_a_letterbox(size, flip, scales):
    network, image = Textures(nominal=(64, 128)), picture(size)
    poses = PoseEstimator(network, min_score=0, protocol=Protocol("exact", flip, scales))(image)
    keypoints, scores = letterbox_poses(network, image, (64, 128), flip, scales)
    assert len(scores) >= 2
    np.testing.assert_allclose(poses.scores, scores, atol=1e-3)
    np.testing.assert_allclose(poses.keypoints, keypoints, atol=1e-3)


@pytest.mark.parametrize(("size", "rows"), [((45, 71), (0, 32)), ((33, 101), (5, 27)), ((40, 120), (5, 27))])
def test_the_live_decoder_reads_stage_2_inside_the_picture(size, rows):
    network, image = Textures(nominal=(64, 128)), picture(size)
    poses = PoseEstimator(network, min_score=0)(image)
    inputs, box = letterbox(image, (64, 128))
    maps = network.look(inputs)
    left = int(box.dx / 2)
    people, scores = decode_live(maps["heatmaps_2"], maps["tags"], region=(rows[0], left, rows[1], 64 - left))
    assert len(scores) >= 3
    np.testing.assert_array_equal(poses.scores, scores)
    found = people[:, :, 2] > 0
    np.testing.assert_allclose(poses.keypoints[found][:, :2], box.to_image(2 * people[found][:, :2]), atol=1e-4)
    np.testing.assert_array_equal(poses.keypoints[found][:, 2], people[found][:, 2])
    assert not poses.keypoints[~found].any()


class Night(Textures):
    """Sees people where it is dark."""

    def _maps(self, image):
        return super()._maps(255 - image)


@pytest.mark.parametrize(
    "protocol",
    [Protocol(), Protocol("exact"), Protocol("exact", True), Protocol("exact", False, SCALES)],
    ids=lambda protocol: protocol.describe((64, 64)),
)
@pytest.mark.parametrize("size", [(40, 71), (71, 40)])
def test_what_the_network_sees_in_the_letterbox_does_not_count(size, protocol):
    image = np.full((*size, 3), 255, np.uint8)
    estimator = PoseEstimator(Night(), min_score=0, protocol=protocol)
    prepared = estimator.prepare(image)
    heat = estimator.run([prepared])[0][0].maps["heatmaps_2"]
    assert max(heat[0, 0].max(), heat[-1, -1].max()) > 0.5, "there is something in the padding"
    joints = estimator.decode(estimator.run([prepared])[0], prepared).keypoints
    places = joints[joints[..., 2] > 0][:, :2]
    assert (places > -4).all(), "a cell and a half away at most"
    assert (places < np.array(size[::-1]) + 4).all()


def test_the_reference_searches_its_padding():
    protocol = Protocol("exact", sizes="reference")
    joints = PoseEstimator(Night(), min_score=0, protocol=protocol)(np.full((45, 71, 3), 255, np.uint8)).keypoints
    places = joints[joints[..., 2] > 0][:, 0]
    assert ((places < -5) | (places > 76)).any()


@pytest.mark.parametrize("sizes", ["letterbox", "reference"])
@pytest.mark.parametrize("scales", [(1.0,), SCALES])
@pytest.mark.parametrize("size", [(45, 71), (71, 45)])
def test_mirroring_tells_a_network_nothing_new_that_treats_both_sides_alike(size, scales, sizes):
    # With tags this close their distance, which two equal dimensions lengthen, does not count.
    network, image = Textures(alike=True, spread=0.02), picture(size)
    once, twice = (
        PoseEstimator(network, min_score=0, protocol=Protocol("exact", flip, scales, sizes))(image)
        for flip in (False, True)
    )
    assert len(once) == len(twice) >= 1
    np.testing.assert_allclose(twice.scores, once.scores, atol=1e-5)
    np.testing.assert_allclose(twice.keypoints, once.keypoints, atol=1e-3)


def test_a_single_scale_need_not_be_1():
    network, image = Textures(alike=True), picture((45, 71))
    for sizes in ("letterbox", "reference"):
        prepared = PoseEstimator(network, protocol=Protocol("exact", False, (0.5,), sizes)).prepare(image)
        assert [inputs.shape for inputs in prepared.inputs] == [(32, 32, 3) if sizes == "letterbox" else (64, 128, 3)]
        assert prepared.size == ((64, 64) if sizes == "letterbox" else (128, 256))
        assert prepared.box.scale == pytest.approx(64 / 71 if sizes == "letterbox" else 128 / 45)


def test_the_inputs_come_in_the_order_of_the_scales():
    estimator = PoseEstimator(Textures(), protocol=Protocol("exact", False, (2, 0.5, 1), "reference"))
    prepared = estimator.prepare(picture((71, 45)))
    assert [inputs.shape[:2] for inputs in prepared.inputs] == [(512, 256), (128, 64), (256, 128)]
    assert prepared.size == (256, 128)
    views = estimator.run([prepared])[0]
    assert [view.maps["heatmaps_2"].shape[:2] for view in views] == [(256, 128), (64, 32), (128, 64)]
    assert all(view.mirrored is None for view in views)


@pytest.mark.parametrize("flip", [False, True])
def test_pictures_of_one_size_go_through_the_network_together(flip):
    network = Textures()
    estimator = PoseEstimator(network, min_score=0, protocol=Protocol("exact", flip, SCALES, "reference"))
    images = [picture((45, 71)), picture((71, 45)), picture((45, 71), seed=1), picture((64, 64)), picture((46, 72))]
    prepared = [estimator.prepare(image) for image in images]
    outputs = estimator.run(prepared)
    together = [estimator.decode(output, each) for output, each in zip(outputs, prepared, strict=True)]
    shapes = [batch[1:] for batch in network.batches]
    assert sorted(shapes) == sorted(set(shapes)) == sorted({i.shape[:2] for p in prepared for i in p.inputs})
    assert sum(batch[0] for batch in network.batches) == 15 * (1 + flip)
    for image, poses in zip(images, together, strict=True):
        alone = estimator(image)
        assert poses.image_size == image.shape[:2]
        np.testing.assert_array_equal(poses.keypoints, alone.keypoints)
        np.testing.assert_array_equal(poses.scores, alone.scores)


@pytest.mark.parametrize("shape", [(1, 1), (1, 8000), (8000, 1), (6000, 8000)])
@pytest.mark.parametrize("protocol", [Protocol(), Protocol("exact", True, (0.5, 1))], ids=["live", "exact"])
def test_any_picture_fits_the_letterbox(shape, protocol):
    poses = PoseEstimator(Textures(), min_score=0, protocol=protocol)(np.full((*shape, 3), 200, np.uint8))
    assert poses.image_size == shape
    assert np.isfinite(poses.keypoints).all()


@pytest.mark.parametrize(("shape", "size"), [((1, 1), (64, 64)), ((6000, 8000), (64, 128)), ((1, 900), (64, 57600))])
def test_the_references_sizes_of_extreme_pictures(shape, size):
    prepared = PoseEstimator(Textures(), protocol=Protocol("exact", sizes="reference")).prepare(
        np.full((*shape, 3), 200, np.uint8)
    )
    assert prepared.inputs[0].shape == (*size, 3)
    assert prepared.inputs[0].any()


@pytest.mark.parametrize("shape", [(1, 8000), (8000, 1)])
def test_a_picture_too_thin_for_the_reference_is_refused(shape):
    estimator = PoseEstimator(Textures(), input_size=512, protocol=Protocol("exact", sizes="reference"))
    with pytest.raises(DataError, match="crop it, or use the letterbox") as error:
        estimator.prepare(np.zeros((*shape, 3), np.uint8))
    assert f"{shape[1]}x{shape[0]}" in str(error.value)


@settings(deadline=None, max_examples=40)
@given(st.integers(8, 90), st.integers(8, 90), st.booleans(), st.sampled_from(["letterbox", "reference"]))
def test_every_joint_lies_in_the_networks_input(height, width, flip, sizes):
    protocol, image = Protocol("exact", flip, (1.0,), sizes), picture((height, width))
    estimator = PoseEstimator(Textures(nominal=(32, 64)), min_score=0, protocol=protocol)
    poses, prepared = estimator(image), estimator.prepare(image)
    assert poses.image_size == (height, width)
    places = prepared.box.to_input(poses.keypoints[..., :2])
    assert (places > -1e-3).all()
    assert (places < np.array(prepared.size[::-1]) + 1e-3).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"decoder": "best"}, "decoder 'best': expected one of live, exact"),
        ({"sizes": "square"}, "sizes 'square': expected one of letterbox, reference"),
        ({"flip": True}, "neither the flip test nor several scales; use the exact one"),
        ({"scales": (0.5, 1)}, "neither the flip test nor several scales"),
        ({"decoder": "exact", "scales": (0.5, 2)}, "scales 0.5, 2: 1 must be among them"),
        ({"decoder": "exact", "scales": ()}, "scales none: give positive numbers"),
        ({"decoder": "exact", "scales": (1, 1.0)}, "each once"),
        ({"decoder": "exact", "scales": (0, 1)}, "positive"),
        ({"decoder": "exact", "scales": (1, -2)}, "positive"),
        ({"decoder": "exact", "scales": (1, float("nan"))}, "positive"),
        ({"decoder": "exact", "scales": (1, float("inf"))}, "positive"),
    ],
)
def test_options_that_are_not_defined(arguments, message):
    with pytest.raises(UsageError, match=message):
        Protocol(**arguments)


def test_options_compare_by_value():
    assert Protocol(scales=[1]) == Protocol()
    assert Protocol("exact", scales=np.array([0.5, 1])) == Protocol("exact", scales=(0.5, 1.0))
    assert Protocol("exact") != Protocol()
    assert len({Protocol(), Protocol(scales=[1]), Protocol("exact")}) == 2


@pytest.mark.parametrize(
    ("protocol", "words"),
    [
        (Protocol(), "letterbox to 96x64, no flip, single scale, live decoder"),
        (Protocol("exact", True), "letterbox to 96x64, flip, single scale, exact decoder"),
        (Protocol("exact", scales=(2,)), "letterbox to 192x128, no flip, scale 2, exact decoder"),
        (
            Protocol("exact", True, (0.5, 1, 2), "reference"),
            "reference sizes, short side 64, multiples of 64, flip, scales 0.5, 1, 2, exact decoder",
        ),
        (
            Protocol(sizes="reference"),
            "reference sizes, short side 64, multiples of 64, no flip, single scale, live decoder",
        ),
    ],
)
def test_one_line_says_what_was_done(protocol, words):
    assert protocol.describe((64, 96)) == words
    assert PoseEstimator(Textures(), input_size=(64, 96), protocol=protocol).describe() == words


@pytest.mark.parametrize(
    "protocol",
    [Protocol("exact", scales=(0.5, 1)), Protocol(sizes="reference"), Protocol("exact", scales=(2,))],
)
def test_a_fixed_input_allows_the_flip_test_only(protocol, tflite_file):
    fixed = Textures(size=(64, 64))
    with pytest.raises(UsageError, match=r"textures: its input is fixed at 64x64; .*need the \.keras model"):
        PoseEstimator(fixed, protocol=protocol)
    with pytest.raises(UsageError, match=r"tiny\.tflite: its input is fixed at 64x64"):
        PoseEstimator(tflite_file, protocol=protocol)
    assert PoseEstimator(fixed, min_score=0, protocol=Protocol("exact", True))(picture((45, 71))).scores.size


@pytest.mark.parametrize(
    ("protocol", "message"),
    [
        (Protocol("exact", scales=(0.5, 1)), "scale 0.5: of 96x64 it leaves no two multiples of 32"),
        (Protocol("exact", False, (0.5, 0.6, 1), "reference"), r"scale 0.6: .* no multiple of 32; use scales like"),
    ],
)
def test_scales_that_leave_no_input(protocol, message):
    with pytest.raises(UsageError, match=message):
        PoseEstimator(Textures(), input_size=(64, 96), protocol=protocol).prepare(picture((45, 71)))


def test_a_fixed_keras_model_is_freed_for_scales(tiny_model, build_tiny):
    free = build_tiny((None, None))
    free.set_weights(tiny_model.get_weights())
    protocol, image = Protocol("exact", True, SCALES, "reference"), picture((45, 71))
    of_fixed, of_free = (PoseEstimator(m, input_size=64, protocol=protocol) for m in (tiny_model, free))
    assert of_fixed.input_size == of_free.input_size == (64, 64)
    assert of_fixed.runner.name == tiny_model.name
    for one, other in zip(
        of_fixed.run([of_fixed.prepare(image)])[0], of_free.run([of_free.prepare(image)])[0], strict=True
    ):
        for first, second in zip(one, other, strict=True):
            for name in ("heatmaps_4", "heatmaps_2", "tags"):
                np.testing.assert_allclose(first[name], second[name], atol=1e-5)
    assert open_runner(tiny_model).input_size == (64, 64)
