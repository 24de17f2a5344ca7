import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ehrnet_tf.errors import UsageError
from ehrnet_tf.runtime.letterbox import fit, letterbox, reference_size, reference_warp


def bilinear(image, size, box):
    """The definition, in float: sample at output centres, 0 outside the picture."""
    padded = np.pad(image.astype(float), ((1, 2), (1, 2), (0, 0)))

    def samples(count, offset, limit):
        position = (np.arange(count) + 0.5 - offset) / box.scale - 0.5
        floor = np.floor(position)
        inside = (floor >= -1) & (floor < limit)
        return np.clip(floor, -1, limit - 1).astype(int) + 1, position - floor, inside

    y, v, inside_y = samples(size[0], box.dy, image.shape[0])
    x, u, inside_x = samples(size[1], box.dx, image.shape[1])
    u, v = u[None, :, None], v[:, None, None]
    result = (padded[y][:, x] * (1 - u) + padded[y][:, x + 1] * u) * (1 - v)
    result += (padded[y + 1][:, x] * (1 - u) + padded[y + 1][:, x + 1] * u) * v
    return result * (inside_y[:, None, None] & inside_x[None, :, None])


@pytest.mark.parametrize(
    ("image_size", "size"),
    [((48, 64), (96, 96)), ((100, 37), (64, 64)), ((37, 100), (64, 96)), ((1, 1), (64, 64)), ((1, 5), (32, 64))],
)
def test_pixels_are_bilinear_samples(image_size, size):
    image = np.random.default_rng(0).integers(0, 256, (*image_size, 3), dtype=np.uint8)
    result, box = letterbox(image, size)
    assert result.shape == (*size, 3)
    assert result.dtype == np.uint8
    # OpenCV 4 samples at 1/32 pixels, OpenCV 5 exactly.
    tolerance = 1 if int(cv2.__version__.split(".")[0]) >= 5 else 9
    assert np.abs(result - bilinear(image, size, box)).max() <= tolerance


def test_identity():
    image = np.random.default_rng(0).integers(0, 256, (64, 96, 3), dtype=np.uint8)
    result, box = letterbox(image, (64, 96))
    np.testing.assert_array_equal(result, image)
    assert (box.scale, box.dx, box.dy) == (1, 0, 0)


def test_geometry_and_border():
    result, box = letterbox(np.full((40, 80, 3), 200, np.uint8), (64, 64))
    assert (box.scale, box.dx, box.dy, box.image_size) == (0.8, 0, 16, (40, 80))
    assert not result[:15].any()
    assert not result[49:].any()
    assert (result[17:47, 1:-1] == 200).all()


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 400), st.integers(1, 400), st.sampled_from([(64, 64), (64, 160), (96, 32)]))
def test_coordinates_there_and_back(height, width, size):
    box = fit((height, width), size)
    corners = np.array([[0, 0], [width, height], [width / 3, height / 2]])
    there = box.to_input(corners)
    assert (there >= -1e-9).all()
    assert (there <= np.array(size[::-1]) + 1e-9).all()
    np.testing.assert_allclose(box.to_image(there), corners, atol=1e-9)


@settings(deadline=None, max_examples=40)
@given(st.integers(60, 1500), st.integers(60, 1500), st.data())
def test_a_blob_and_its_keypoint_land_together(height, width, data):
    x = data.draw(st.integers(0, width - 1)) + 0.5
    y = data.draw(st.integers(0, height - 1)) + 0.5
    size = (96, 128)
    scale = fit((height, width), size).scale
    sigma = 3 / scale  # three input pixels
    blob = np.exp(-((np.arange(width) + 0.5 - x) ** 2) / (2 * sigma**2))
    blob = np.outer(np.exp(-((np.arange(height) + 0.5 - y) ** 2) / (2 * sigma**2)), blob)
    image = np.repeat(np.rint(255 * blob)[..., None], 3, axis=2).astype(np.uint8)
    result, box = letterbox(image, size)
    found = np.argwhere(result[..., 0] == result.max())[:, ::-1].mean(axis=0) + 0.5
    assert np.abs(found - box.to_input([x, y])).max() <= 1.5


@pytest.mark.parametrize(("image_size", "size"), [((90, 120), (64, 64)), ((97, 31), (64, 96)), ((64, 64), (64, 64))])
def test_only_the_padding_is_cleared(image_size, size):
    picture, box = letterbox(np.full((*image_size, 3), 255, np.uint8), size)
    maps = np.ones((*size, 2), np.float32)
    box.clear_padding(maps)
    assert set(np.unique(maps)) <= {0, 1}
    assert (maps[picture[..., 0] > 0] == 1).all(), "what shows the picture stays"
    assert (maps[cv2.dilate(picture[..., 0], np.ones((3, 3))) == 0] == 0).all()


def test_a_large_picture_is_averaged_not_skipped_through():
    board = (np.indices((1280, 1280)).sum(axis=0) % 2 * 255).astype(np.uint8)
    result, _ = letterbox(np.repeat(board[..., None], 3, axis=2), (64, 64))
    assert np.abs(result[2:-2, 2:-2].astype(int) - 127).max() <= 1


@pytest.mark.parametrize("image_size", [(1, 40000), (40000, 2)])
def test_extreme_aspect_ratio(image_size):
    result, box = letterbox(np.full((*image_size, 3), 255, np.uint8), (64, 64))
    assert result.shape == (64, 64, 3)
    np.testing.assert_allclose(box.scale * max(image_size), 64)


@pytest.mark.parametrize(
    "image", [np.zeros((4, 4), np.uint8), np.zeros((0, 4, 3), np.uint8), np.zeros((4, 4, 3), np.float32)]
)
def test_what_is_no_picture(image):
    with pytest.raises(UsageError, match="uint8"):
        letterbox(image, (64, 64))


@pytest.mark.parametrize(
    ("image_size", "nominal", "expected"),
    [
        ((480, 640), 512, (512, 704)),
        ((640, 480), 512, (704, 512)),
        ((500, 333), 512, (768, 512)),  # 768.8, and the reference adds 63, not 63.99
        ((77, 77), 512, (512, 512)),
        ((480, 640), 448, (448, 640)),
        ((500, 333), 448, (704, 448)),
        ((480, 640), 416, (448, 640)),  # 416 is no multiple of 64
        ((480, 640), 384, (384, 512)),
        ((500, 333), 384, (576, 384)),
        ((1, 1), 384, (384, 384)),
    ],
)
def test_reference_size_at_one_scale(image_size, nominal, expected):
    assert reference_size(image_size, nominal) == expected


@pytest.mark.parametrize(
    ("image_size", "nominal", "expected"),
    [
        ((480, 640), 512, [(256, 384), (512, 768), (1024, 1536)]),
        ((640, 480), 448, [(384, 256), (768, 512), (1536, 1024)]),  # 224 is rounded up to 256
        ((500, 333), 416, [(384, 256), (768, 512), (1536, 1024)]),
        ((500, 333), 384, [(320, 192), (640, 384), (1280, 768)]),
        ((31, 31), 384, [(192, 192), (384, 384), (768, 768)]),
    ],
)
def test_reference_size_at_several_scales(image_size, nominal, expected):
    assert [reference_size(image_size, nominal, scale, 0.5) for scale in (0.5, 1, 2)] == expected


@settings(deadline=None, max_examples=100)
@given(st.integers(1, 3000), st.integers(1, 3000), st.sampled_from([384, 416, 448, 512]), st.sampled_from([0.5, 1]))
def test_reference_size_fits_the_picture_with_little_padding(height, width, nominal, smallest):
    size = reference_size((height, width), nominal, smallest, smallest)
    assert not any(side % 64 for side in size)
    assert 0 <= min(size) - smallest * nominal < 64
    assert -1 < max(size) - min(size) / min(height, width) * max(height, width) < 64
    assert (size[0] >= size[1]) == (height >= width) or size[0] == size[1]
    assert size == reference_size((width, height), nominal, smallest, smallest)[::-1]


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 200), st.integers(1, 200), st.sampled_from([0.5, 1, 2]))
def test_the_reference_puts_centre_on_centre_and_takes_coordinates_back(height, width, scale):
    size = reference_size((height, width), 64, scale, 0.5)
    result, box = reference_warp(np.zeros((height, width, 3), np.uint8), size)
    assert result.shape == (*size, 3)
    assert box.image_size == (height, width)
    centre = int(width / 2 + 0.5), int(height / 2 + 0.5)
    np.testing.assert_allclose(box.to_input(centre), (size[1] / 2, size[0] / 2), atol=1e-9)
    np.testing.assert_allclose(box.scale * min(height, width), min(size), atol=1e-9)
    points = np.array([[0, 0], [width, height], [-3, height / 3]])
    np.testing.assert_allclose(box.to_image(box.to_input(points)), points, atol=1e-9)


@pytest.mark.parametrize("image_size", [(40, 71), (71, 40), (33, 33), (51, 100)])
@pytest.mark.parametrize("scale", [1, 2])
def test_a_pixel_lands_where_the_reference_puts_it(image_size, scale):
    height, width = image_size
    row, column = height // 3, 2 * width // 3
    image = np.zeros((height, width, 3), np.uint8)
    image[row, column] = 255
    size = reference_size(image_size, 192, scale)
    result, box = reference_warp(image, size)
    factor = min(size) / min(image_size)
    expected = [
        size[1] / 2 + factor * (column - int(width / 2 + 0.5)),
        size[0] / 2 + factor * (row - int(height / 2 + 0.5)),
    ]  # in indices: the middle of pixel j is j here
    weights = result[..., 0].astype(float)
    found = [
        (weights.sum(axis=0) @ np.arange(size[1])) / weights.sum(),
        (weights.sum(axis=1) @ np.arange(size[0])) / weights.sum(),
    ]
    np.testing.assert_allclose(found, expected, atol=0.15)
    np.testing.assert_allclose(box.to_image(expected), (column, row), atol=1e-9)


def test_the_reference_fills_up_with_black():
    result, box = reference_warp(np.full((40, 70, 3), 200, np.uint8), (64, 128))
    assert box.scale == 1.6
    assert (result[2:-2, 10:-10] == 200).all()
    assert not result[:, :7].any()
    assert not result[:, -7:].any()


@pytest.mark.parametrize(
    "image", [np.zeros((4, 4), np.uint8), np.zeros((4, 0, 3), np.uint8), np.zeros((4, 4, 3), np.float32)]
)
def test_what_is_no_picture_for_the_reference(image):
    with pytest.raises(UsageError, match="uint8"):
        reference_warp(image, (64, 64))
