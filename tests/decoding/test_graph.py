"""The live decoder as a graph: against the live decoder, in TensorFlow, TFLite and ONNX Runtime."""

import functools
import tempfile
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ehrnet_tf.decoding import DecoderSettings, decode_live, live
from ehrnet_tf.errors import UsageError

DEFAULT = DecoderSettings()


@pytest.fixture(scope="module")
def graph():
    from ehrnet_tf.decoding import graph

    return graph


def white(height, width):
    return np.full((1, height, width, 3), 255, np.uint8)


def gaussian(maps, keypoint, x, y, height=1.0, sigma=2.0):
    """Draws a peak at x, y in the continuous frame, in cells."""
    rows, columns = np.indices(maps.shape[:2]) + 0.5
    peak = height * np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * sigma**2))
    maps[:, :, keypoint] = np.maximum(maps[:, :, keypoint], peak)


def scene(people, size=(64, 64), count=17, seed=0, sigma=1.2, coarse=2, missing=0.0):
    """Maps of people with a joint of every keypoint somewhere on a grid, so that no two share a window."""
    rng = np.random.default_rng(seed)
    heatmaps = np.zeros((*size, count), np.float32)
    tags = rng.normal(0, 0.05, (size[0] // coarse, size[1] // coarse, count)).astype(np.float32)
    columns = size[1] // 10
    for k in range(count):
        places = rng.permutation(columns * (size[0] // 10))[:people]
        for person, place in enumerate(places):
            if rng.random() < missing:
                continue
            y, x = np.array(divmod(int(place), columns)) * 10 + rng.uniform(3, 7, 2)
            gaussian(heatmaps, k, x, y, rng.uniform(0.3, 1), sigma)
            top, left = int(y) // coarse, int(x) // coarse
            tags[max(0, top - 1) : top + 2, max(0, left - 1) : left + 2, k] += 3 * person
    return heatmaps, tags


def find(graph, heatmaps, tags, image=None, **options):
    """`find_people` on one picture: keypoints (P, K, 3) and scores (P,)."""
    image = white(2 * heatmaps.shape[0], 2 * heatmaps.shape[1]) if image is None else image
    found = graph.find_people(image, heatmaps[None], tags[None], **options)
    assert sorted(found) == ["keypoints", "scores"]
    keypoints, scores = (np.asarray(found[name]) for name in ("keypoints", "scores"))
    assert keypoints.dtype == scores.dtype == np.float32
    assert keypoints.shape == (1, scores.shape[1], heatmaps.shape[2], 3)
    assert np.isfinite(keypoints).all() and np.isfinite(scores).all()
    assert (keypoints[0][scores[0] == 0] == 0).all(), "a place that nobody takes is all 0"
    assert (keypoints[keypoints[..., 2] == 0] == 0).all(), "an absent joint is all 0"
    return keypoints[0], scores[0]


def compare(keypoints, scores, people, live_scores, scale=2.0, atol=0.01):
    """That the graph's people are the live decoder's, in the same order."""
    number = len(people)
    np.testing.assert_allclose(scores[:number], live_scores, atol=1e-5)
    assert (scores[number:] == 0).all()
    np.testing.assert_allclose(keypoints[:number, :, 2], people[:, :, 2], atol=1e-5)
    np.testing.assert_allclose(keypoints[:number, :, :2], people[:, :, :2] * scale, atol=atol)


@pytest.mark.parametrize("number", [0, 1, 2, 5, 30])
def test_people_are_those_of_the_live_decoder(graph, number):
    heatmaps, tags = scene(number)
    people, scores = decode_live(heatmaps, tags)
    assert len(people) == number
    assert (people[:, :, 2] > 0.2).all()
    keypoints, found = find(graph, heatmaps, tags)
    assert found.shape == (30,)
    compare(keypoints, found, people, scores)


def test_maps_that_are_not_square_and_people_who_lack_joints(graph):
    heatmaps, tags = scene(6, (48, 96), missing=0.4, seed=3)
    chosen = DecoderSettings(refine=False)
    people, scores = decode_live(heatmaps, tags, chosen)
    assert len(people) == 6 and (people[:, :, 2] == 0).any()
    compare(*find(graph, heatmaps, tags, settings=chosen), people, scores)


def test_keypoints_are_in_pixels_of_the_picture(graph):
    heatmaps, tags = scene(2, (32, 32), count=3)
    people, scores = decode_live(heatmaps, tags)
    keypoints, found = find(graph, heatmaps, tags, white(32, 96))
    compare(keypoints, found, people, scores, scale=(3, 1))


@pytest.mark.parametrize("size", [(33, 31), (31, 33), (7, 50)])
def test_maps_of_odd_sides(graph, size):
    heatmaps = np.random.default_rng(1).uniform(0, 1, (*size, 3)).astype(np.float32)
    heatmaps[-1, -1] = 2, 3, 4  # the corner, where blocks of four cells are cut
    tags = np.zeros((4, 5, 3), np.float32)
    chosen = DecoderSettings(refine=False, max_people=1)
    people, _ = decode_live(heatmaps, tags, chosen)
    keypoints, scores = find(graph, heatmaps, tags, settings=chosen, people=1)
    assert scores == pytest.approx(3, rel=1e-5)
    np.testing.assert_allclose(keypoints[0, :, :2], 2 * people[0, :, :2], atol=0.01)
    chosen = DecoderSettings(refine=False, adjust=False)
    keypoints, _ = find(graph, heatmaps, tags, settings=chosen, people=1)
    np.testing.assert_array_equal(keypoints[0, :, :2], [(2 * size[1] - 1, 2 * size[0] - 1)] * 3)


@pytest.mark.parametrize("dark", ["top", "bottom", "left", "right", "all sides"])
def test_black_edges_count_as_padding(graph, dark):
    heatmaps, tags = scene(1, (32, 32), count=2, coarse=1)
    heatmaps[:] = 0
    gaussian(heatmaps, 0, 16.3, 15.8, 0.5)
    gaussian(heatmaps, 1, 14.3, 17.8, 0.5)
    tags[:] = 0
    inside, _ = find(graph, heatmaps, tags)
    image = white(64, 64)
    for side, place, cut in (
        ("top", (15.5, 3.5), np.s_[:, :16]),
        ("bottom", (15.5, 28.5), np.s_[:, 48:]),
        ("left", (3.5, 15.5), np.s_[:, :, :16]),
        ("right", (28.5, 15.5), np.s_[:, :, 48:]),
    ):
        if dark in (side, "all sides"):
            gaussian(heatmaps, 0, *place, 0.9)
            image[cut] = 0
    assert (find(graph, heatmaps, tags)[1] > 0).sum() == (5 if dark == "all sides" else 2)
    keypoints, scores = find(graph, heatmaps, tags, image)
    assert (scores > 0).tolist() == [True] + [False] * 29
    np.testing.assert_allclose(keypoints, inside, atol=1e-4)
    region = {"top": (8, 0, 32, 32), "bottom": (0, 0, 24, 32), "left": (0, 8, 32, 32), "right": (0, 0, 32, 24)}
    people, scores = decode_live(heatmaps, tags, region=region.get(dark, (8, 8, 24, 24)))
    np.testing.assert_allclose(keypoints[:1, :, :2], 2 * people[:, :, :2], atol=0.01)


def test_a_joint_beside_the_padding_lies_where_the_live_decoder_puts_it(graph):
    heatmaps, tags = np.zeros((32, 32, 1), np.float32), np.zeros((32, 32, 1), np.float32)
    gaussian(heatmaps, 0, 8.5, 16.3)
    image = white(64, 64)
    image[:, :, :16] = 0
    people, scores = decode_live(heatmaps, tags, region=(0, 8, 32, 32))
    compare(*find(graph, heatmaps, tags, image), people, scores)


def test_black_within_a_picture_is_no_padding(graph):
    heatmaps, tags = scene(5, (32, 32), count=2, seed=2)
    image = np.zeros((1, 64, 64, 3), np.uint8)
    image[0, 0, 0] = image[0, 63, 48, 2] = 1  # one dark pixel in the first row and column, one in the last
    image[0, 16, 63, 1] = 1
    expected = find(graph, heatmaps, tags)
    for found, wanted in zip(find(graph, heatmaps, tags, image), expected, strict=True):
        np.testing.assert_array_equal(found, wanted)
    assert (expected[1] > 0).sum() == 5


def test_nobody_stands_in_a_black_picture(graph):
    heatmaps, tags = scene(5, (32, 32), count=2)
    _, scores = find(graph, heatmaps, tags, 0 * white(64, 64))
    np.testing.assert_array_equal(scores, np.zeros(30))


@pytest.mark.parametrize("number", [1, 3])
def test_fewer_places_than_people(graph, number):
    heatmaps, tags = scene(5, count=4, seed=4)
    chosen = DecoderSettings(max_people=number, refine=False)
    people, scores = decode_live(heatmaps, tags, chosen)
    assert len(people) > number
    keypoints, found = find(graph, heatmaps, tags, settings=chosen, people=number)
    assert found.shape == (number,)
    compare(keypoints, found, people[:number], scores[:number])


def test_no_more_places_than_cells(graph):
    heatmaps, tags = np.full((2, 3, 1), 0.5, np.float32), np.arange(6, dtype=np.float32).reshape(2, 3, 1) * 2
    chosen = DecoderSettings(nms_kernel=1, adjust=False)
    keypoints, scores = find(graph, heatmaps, tags, settings=chosen)
    assert scores.tolist() == [0.5] * 6
    assert keypoints[:, 0, :2].tolist() == [[1, 1], [3, 1], [5, 1], [1, 3], [3, 3], [5, 3]]


def test_a_window_of_one_cell_takes_every_cell(graph):
    rng = np.random.default_rng(4)
    heatmaps = rng.permutation(np.linspace(0.2, 1, 12 * 12)).reshape(12, 12, 1).astype(np.float32)
    tags = rng.normal(0, 3, (6, 6, 1)).astype(np.float32)
    chosen = DecoderSettings(nms_kernel=1)
    people, scores = decode_live(heatmaps, tags, chosen)
    assert len(people) == 30
    np.testing.assert_allclose(scores, np.sort(heatmaps.ravel())[::-1][:30], rtol=1e-6)
    compare(*find(graph, heatmaps, tags, settings=chosen), people, scores)


@pytest.mark.parametrize("kernel", [3, 5, 9])
def test_windows_of_other_sizes_on_random_maps(graph, kernel):
    rng = np.random.default_rng(kernel)
    heatmaps, tags = rng.uniform(0, 1, (20, 24, 2)).astype(np.float32), np.zeros((20, 24, 2), np.float32)
    tags += 2 * np.arange(20 * 24).reshape(20, 24, 1)  # nobody joins anybody
    chosen = DecoderSettings(nms_kernel=kernel, refine=False, max_people=60)
    people, scores = decode_live(heatmaps, tags, chosen)
    keypoints, found = find(graph, heatmaps, tags, settings=chosen, people=60)
    number = min(60, len(people))
    compare(keypoints, found, people[:number], scores[:number], atol=0.02)


@pytest.mark.parametrize("adjust", [True, False])
@pytest.mark.parametrize("refine", [True, False])
def test_one_keypoint_with_and_without_adjustment_and_refinement(graph, adjust, refine):
    heatmaps, tags = scene(3, (32, 32), count=1)
    chosen = DecoderSettings(adjust=adjust, refine=refine)
    people, scores = decode_live(heatmaps, tags, chosen)
    keypoints, found = find(graph, heatmaps, tags, settings=chosen)
    compare(keypoints, found, people, scores)
    centred = (keypoints[:3, :, :2] % 2 == 1).all()
    assert centred == (not adjust)


def test_refinement_takes_a_candidate_of_the_persons_own_tag(graph):
    heatmaps, tags = np.zeros((32, 32, 2), np.float32), np.zeros((32, 32, 2), np.float32)
    for x, height in ((8.4, 0.9), (22.6, 0.8)):
        gaussian(heatmaps, 0, x, 8.3, height)
    gaussian(heatmaps, 1, 15.2, 22.7, 0.7)
    tags[:, 16:, 0] = 0.2  # both would have the one candidate of keypoint 1
    keypoints, scores = find(graph, heatmaps, tags)
    np.testing.assert_allclose(scores[:3], [(0.9 + 0.7) / 2, 0.8 / 2, 0], atol=0.02)
    np.testing.assert_allclose(keypoints[:2, 1, :2], [[30.4, 45.4]] * 2, atol=0.1)
    np.testing.assert_array_equal(keypoints[0, 1], keypoints[1, 1])
    lacking, same = find(graph, heatmaps, tags, settings=DecoderSettings(refine=False))
    np.testing.assert_array_equal(lacking[1, 1], 0)
    np.testing.assert_array_equal(same, scores)
    tags[:, 16:, 0] = 0.8  # too far: 1 when rounded
    assert find(graph, heatmaps, tags)[0][1, 1, 2] == 0
    assert find(graph, heatmaps, tags, settings=DecoderSettings(threshold=0.75))[0][:2, 1, 2].tolist() == [0, 0]


def test_refinement_rounds_the_distance_of_tags(graph):
    heatmaps, tags = np.zeros((32, 32, 2), np.float32), np.zeros((32, 32, 2), np.float32)
    for x, height in ((4.5, 0.9), (14.5, 0.85), (24.5, 0.8)):
        gaussian(heatmaps, 0, x, 6.5, height, sigma=1)
    for x, height, tag in ((8.5, 0.8, 0.4), (22.5, 0.7, 0.05)):
        gaussian(heatmaps, 1, x, 22.5, height, sigma=1)
        tags[17:, int(x) - 4 : int(x) + 5, 1] = tag
    keypoints, scores = find(graph, heatmaps, tags)
    assert (scores > 0).sum() == 3
    np.testing.assert_allclose(keypoints[:3, 1, 2], [0.8, 0.7, 0.8], atol=1e-5)


def test_grouping_order_decides_who_opens_people(graph):
    heatmaps, tags = scene(2, (32, 32), count=2)
    heatmaps[:, :, 0] *= tags[:, :, 0].repeat(2, axis=0).repeat(2, axis=1) > 1.5  # person 1 alone has keypoint 0
    chosen = DecoderSettings(refine=False)
    first, _ = find(graph, heatmaps, tags, settings=chosen)
    second, _ = find(graph, heatmaps, tags, settings=chosen, grouping=(1, 0))
    assert (first[:2, :, 2] > 0).tolist() == [[True, True], [False, True]]
    strongest = heatmaps[:, :, 1].max()
    assert second[0, 1, 2] == pytest.approx(strongest, rel=1e-5)
    with pytest.raises(UsageError, match="each of 0 to 1 once"):
        find(graph, heatmaps, tags, grouping=(1, 1))


@pytest.mark.parametrize("options", [{"people": 0}, {"people": -3}, {"rounds": 0}])
def test_impossible_numbers_are_refused(graph, options):
    with pytest.raises(UsageError, match=next(iter(options))):
        find(graph, *scene(1, (32, 32), count=2), **options)


@pytest.mark.parametrize("value", [-0.5, 0.0, 0.05, 0.5, 1.0, 40.0])
@pytest.mark.parametrize("tag", [0.0, 1e4])
def test_equal_maps(graph, value, tag):
    heatmaps, tags = np.full((16, 16, 2), value, np.float32), np.full((8, 8, 2), tag, np.float32)
    keypoints, scores = find(graph, heatmaps, tags)  # which asserts that all is finite
    assert (scores > 0).all() == (scores > 0).any() == (value > DEFAULT.threshold)
    assert ((keypoints[:, :, :2] >= 0) & (keypoints[:, :, :2] <= 32)).all()


@functools.cache
def compiled_group(threshold, rounds, order):
    import tensorflow as tf

    from ehrnet_tf.decoding import graph

    chosen = DecoderSettings(tag_threshold=threshold)
    return tf.function(lambda value, tag: graph._group(value, tag, chosen, order, rounds))


@settings(max_examples=150, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    spread=st.sampled_from([0.3, 1.0, 3.0]),
    tag_threshold=st.sampled_from([1.0, 2.5]),
    order=st.sampled_from([(0, 1, 2, 3), (2, 0, 3, 1)]),
    equal=st.booleans(),
)
def test_enough_rounds_of_mutual_choice_are_the_greedy_assignment(seed, spread, tag_threshold, order, equal):
    count, places = 4, 6
    rng = np.random.default_rng(seed)
    heat = -np.sort(-rng.uniform(0.0, 1, (count, places)), axis=1).astype(np.float32)
    tag = rng.normal(0, spread, (count, places)).astype(np.float32)
    if equal:  # many ties
        heat, tag = np.round(heat * 4) / 4, np.round(tag * 2) / 2
    candidates = [
        np.column_stack((np.arange(places), np.full(places, k), heat[k], tag[k]))[heat[k] > 0.1].astype(np.float32)
        for k in range(count)
    ]
    chosen = DecoderSettings(tag_threshold=tag_threshold, max_people=places)
    people = live.group_greedily(candidates, chosen, order)[:places]
    owns, mean, joints = (np.asarray(x) for x in compiled_group(tag_threshold, places, order)(heat, tag))
    assert owns.shape == (count, places, places)
    expected = np.zeros_like(owns)
    person, keypoint = np.nonzero(people[:, :, 2] > 0)
    expected[keypoint, people[person, keypoint, 0].astype(int), person] = 1
    np.testing.assert_array_equal(owns, expected)
    np.testing.assert_array_equal(joints[0], expected.sum(axis=(0, 1)))
    total = (people[:, :, 3] * (people[:, :, 2] > 0)).sum(axis=1)
    np.testing.assert_allclose(mean[0, : len(people)], total / joints[0, : len(people)], atol=1e-5)


def test_one_round_joins_only_who_choose_each_other(graph):
    heatmaps, tags = np.zeros((32, 32, 2), np.float32), np.zeros((32, 32, 2), np.float32)
    for k in (0, 1):
        for person in range(3):
            gaussian(heatmaps, k, 6.5 + 9 * person, 8.5 + 10 * k, 0.9 - 0.1 * person, sigma=1)
    chosen = DecoderSettings(refine=False)
    # All tags are equal: everybody chooses the hottest, who is taken; each round joins one.
    for rounds, number in ((1, 5), (2, 4), (3, 3), (9, 3)):
        _, scores = find(graph, heatmaps, tags, settings=chosen, rounds=rounds)
        assert (scores > 0).sum() == number
    assert len(decode_live(heatmaps, tags, chosen)[0]) == 3


SIZE, COUNT, PLACES = (32, 32), 3, 4


@pytest.fixture(scope="module")
def function(graph):
    """The decoder for maps of 32x32 cells, three keypoints and four people, of static shapes."""
    import tensorflow as tf

    specs = [
        tf.TensorSpec((1, 64, 64, 3), tf.uint8, "image"),
        tf.TensorSpec((1, *SIZE, COUNT), tf.float32, "heatmaps_2"),
        tf.TensorSpec((1, SIZE[0] // 2, SIZE[1] // 2, COUNT), tf.float32, "tags"),
    ]
    return tf.function(functools.partial(graph.find_people, people=PLACES), input_signature=specs)


def cases():
    """Inputs of the exported decoder: image, heat-maps, tags."""
    for number in (0, 1, 3, 6):
        heatmaps, tags = scene(number, SIZE, COUNT, seed=number)
        image = white(64, 64)
        if number == 3:
            image[:, :, 44:] = 0
        yield image, heatmaps[None], tags[None]
    equal = np.full((1, *SIZE, COUNT), 0.5, np.float32)
    yield white(64, 64), equal, np.zeros((1, SIZE[0] // 2, SIZE[1] // 2, COUNT), np.float32)


def test_cases_hold_people(function):
    found = [function(*case)["scores"].numpy() for case in cases()]
    assert [int((scores > 0).sum()) for scores in found] == [0, 1, 3, 4, 4]
    _, heatmaps, tags = list(cases())[2]
    assert function(white(64, 64), heatmaps, tags)["scores"].numpy().sum() > found[2].sum() + 0.1, "padding counts"


def test_tflite_needs_built_in_operators_alone_and_gives_the_same(function):
    import tensorflow as tf
    from ai_edge_litert.interpreter import Interpreter

    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tf.saved_model.save(tf.Module(), folder, signatures={"serving_default": function})
        converter = tf.lite.TFLiteConverter.from_saved_model(folder, signature_keys=["serving_default"])
        content = converter.convert()  # fails where an operator is not built in
    interpreter = Interpreter(model_content=content)
    operators = {details["op_name"] for details in interpreter._get_ops_details()}
    assert not {name for name in operators if name.startswith("Flex") or name in ("WHILE", "IF", "CUSTOM")}
    run = interpreter.get_signature_runner()
    for image, heatmaps, tags in cases():
        found, expected = run(image=image, heatmaps_2=heatmaps, tags=tags), function(image, heatmaps, tags)
        for name, values in expected.items():
            np.testing.assert_allclose(found[name], values, atol=1e-4)


def test_onnx_of_opset_17_is_valid_and_gives_the_same(function):
    tf2onnx = pytest.importorskip("tf2onnx")
    onnx = pytest.importorskip("onnx")
    onnxruntime = pytest.importorskip("onnxruntime")
    model, _ = tf2onnx.convert.from_function(function, input_signature=function.input_signature, opset=17)
    onnx.checker.check_model(model, full_check=True)
    assert [(entry.domain, entry.version) for entry in model.opset_import if entry.domain == ""] == [("", 17)]
    assert not {node.domain for node in model.graph.node} - {"", "ai.onnx"}
    assert not {"Loop", "If", "Scan"} & {node.op_type for node in model.graph.node}
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    for case in cases():
        inputs = dict(zip([entry.name for entry in session.get_inputs()], case, strict=True))
        found = dict(zip(names, session.run(None, inputs), strict=True))
        for name, values in function(*case).items():
            np.testing.assert_allclose(found[name], values, atol=1e-4)


def test_of_equal_neighbours_one_is_the_candidate(graph):
    heatmaps, tags = np.zeros((32, 32, 1), np.float32), np.zeros((32, 32, 1), np.float32)
    heatmaps[4, 4:6] = heatmaps[9:11, 9] = 0.5  # as an integer network gives where a joint lies between two cells
    keypoints, scores = find(graph, heatmaps, tags)
    np.testing.assert_allclose(scores[:3], [0.5, 0.5, 0], atol=1e-5)
    np.testing.assert_allclose(sorted(keypoints[:2, 0, :2].tolist()), [[10, 9], [19, 20]], atol=0.01)
