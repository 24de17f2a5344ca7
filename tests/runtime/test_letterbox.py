import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ehrnet_tf.errors import UsageError
from ehrnet_tf.runtime.letterbox import fit, letterbox


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
