"""Reading pictures of every kind, and refusing what is none."""

import io

import cv2
import numpy as np
import pytest

from ehrnet_tf.errors import DataError
from ehrnet_tf.images import read_image, to_rgb_uint8


@pytest.fixture(scope="module")
def picture():
    """(48, 64, 3) uint8 RGB, smooth enough for JPEG, different in every corner."""
    rows, columns = np.mgrid[:48, :64]
    return np.ascontiguousarray(np.stack((rows * 5, columns * 4, 255 - rows * 3 - columns), axis=2), np.uint8)


def save(path, image, **options):
    image.save(path, **options)
    return path


@pytest.mark.parametrize(
    ("suffix", "tolerance"), [(".jpg", 12), (".png", 0), (".bmp", 0), (".webp", 12), (".tif", 0), (".tiff", 0)]
)
def test_formats(tmp_path, picture, suffix, tolerance):
    path = tmp_path / f"picture{suffix}"
    assert cv2.imwrite(str(path), picture[:, :, ::-1])
    read = read_image(path)
    assert read.dtype == np.uint8
    assert read.flags.c_contiguous
    assert np.abs(read.astype(int) - picture).max() <= tolerance
    np.testing.assert_array_equal(read_image(str(path)), read)


ORIENTATIONS = {  # EXIF value: what a viewer does with the stored picture
    1: lambda p: p,
    2: lambda p: p[:, ::-1],
    3: lambda p: p[::-1, ::-1],
    4: lambda p: p[::-1],
    5: lambda p: p.transpose(1, 0, 2),
    6: lambda p: np.rot90(p, -1),
    7: lambda p: p[::-1, ::-1].transpose(1, 0, 2),
    8: lambda p: np.rot90(p),
}


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tif"])
@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_exif_orientation(tmp_path, picture, orientation, suffix):
    image = pytest.importorskip("PIL.Image")
    exif = image.Exif()
    exif[0x112] = orientation
    read = read_image(save(tmp_path / f"turned{suffix}", image.fromarray(picture), exif=exif))
    expected = ORIENTATIONS[orientation](picture)
    assert read.shape == expected.shape
    assert np.abs(read.astype(int) - expected).mean() < 4


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_exif_orientation_with_alpha(tmp_path, picture, orientation):
    image = pytest.importorskip("PIL.Image")
    exif = image.Exif()
    exif[0x112] = orientation
    rgba = np.dstack((picture, np.full(picture.shape[:2], 255, np.uint8)))
    rgba[:10, :20, 3] = 0
    read = read_image(save(tmp_path / "turned.png", image.fromarray(rgba), exif=exif))
    expected = picture.copy()
    expected[:10, :20] = 255
    np.testing.assert_array_equal(read, ORIENTATIONS[orientation](expected))


@pytest.mark.parametrize("suffix", [".png", ".webp", ".tif"])
def test_alpha_is_blended_over_white(tmp_path, picture, suffix):
    image = pytest.importorskip("PIL.Image")
    rgba = np.dstack((picture, np.full(picture.shape[:2], 51, np.uint8)))
    options = {"lossless": True} if suffix == ".webp" else {}
    read = read_image(save(tmp_path / f"clear{suffix}", image.fromarray(rgba), **options))
    np.testing.assert_allclose(read, 0.2 * picture + 0.8 * 255, atol=1)


@pytest.mark.parametrize("mode", ["CMYK", "L", "1", "P", "LA", "I;16"])
def test_colour_modes(tmp_path, picture, mode):
    image = pytest.importorskip("PIL.Image")
    if mode == "I;16":
        grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
        stored, expected = image.fromarray(grey.astype(np.uint16) * 257), np.repeat(grey[:, :, None], 3, axis=2)
    else:
        stored = image.fromarray(picture).convert(mode)
        expected = np.asarray(stored.convert("RGB"))
    read = read_image(save(tmp_path / ("stored.jpg" if mode == "CMYK" else "stored.png"), stored))
    assert np.abs(read.astype(int) - expected).max() <= (15 if mode == "CMYK" else 0)


def test_palette_with_a_transparent_colour(tmp_path):
    image = pytest.importorskip("PIL.Image")
    stored = image.new("P", (8, 8), 1)
    stored.putpalette([0, 0, 0, 200, 10, 30])
    stored.paste(0, (0, 0, 4, 8))
    read = read_image(save(tmp_path / "palette.png", stored, transparency=0))
    np.testing.assert_array_equal(read[:, :4], 255)
    np.testing.assert_array_equal(read[:, 4:], np.broadcast_to([200, 10, 30], (8, 4, 3)))


def test_floating_point_tiff(tmp_path, picture):
    path = tmp_path / "float.tif"
    assert cv2.imwrite(str(path), picture[:, :, ::-1].astype(np.float32) / 255)
    np.testing.assert_array_equal(read_image(path), picture)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tif", ".bmp"])
@pytest.mark.parametrize("share", [0.02, 0.3, 0.6, 0.95])
def test_files_that_are_cut_off(tmp_path, suffix, share):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    data = cv2.imencode(suffix, noise)[1].tobytes()
    path = tmp_path / f"short{suffix}"
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(DataError, match=r"short\..*(cut off|not a picture).*remove") as caught:
        read_image(path)
    assert "\n" not in str(caught.value)


def test_a_thumbnail_does_not_hide_that_a_jpeg_is_cut_off(tmp_path, picture):
    image = pytest.importorskip("PIL.Image")
    thumbnail = io.BytesIO()
    image.fromarray(picture[::4, ::4]).save(thumbnail, "JPEG")
    whole = tmp_path / "whole.jpg"
    image.fromarray(picture).save(whole, exif=b"Exif\0\0" + thumbnail.getvalue())
    data = whole.read_bytes()
    assert read_image(whole).shape == picture.shape
    short = tmp_path / "short.jpg"
    short.write_bytes(data[:-40])
    with pytest.raises(DataError, match=r"short\.jpg: is cut off"):
        read_image(short)


def test_data_after_the_end_of_a_jpeg_is_no_matter(tmp_path, picture):
    path = tmp_path / "motion.jpg"
    assert cv2.imwrite(str(path), picture)
    path.write_bytes(path.read_bytes() + b"a film \xff\xda behind the picture")
    assert read_image(path).shape == picture.shape


def test_what_is_no_picture(tmp_path):
    with pytest.raises(DataError, match=r"nothing\.jpg: no such file"):
        read_image(tmp_path / "nothing.jpg")
    with pytest.raises(DataError, match="is a folder"):
        read_image(tmp_path)
    empty, text = tmp_path / "empty.png", tmp_path / "text.png"
    empty.touch()
    text.write_text("not a picture")
    with pytest.raises(DataError, match=r"empty\.png: is empty"):
        read_image(empty)
    with pytest.raises(DataError, match=r"text\.png: is not a picture"):
        read_image(text)


def test_arrays(picture):
    assert np.shares_memory(to_rgb_uint8(picture), picture)
    np.testing.assert_array_equal(to_rgb_uint8(picture.astype(np.uint16) * 257), picture)
    np.testing.assert_array_equal(to_rgb_uint8(picture.astype(np.int64)), picture)
    np.testing.assert_array_equal(to_rgb_uint8(picture.astype(np.float64)), picture)
    np.testing.assert_array_equal(to_rgb_uint8(picture / np.float32(255)), picture)
    np.testing.assert_array_equal(to_rgb_uint8(picture[:, :, 0]), np.repeat(picture[:, :, :1], 3, axis=2))
    np.testing.assert_array_equal(to_rgb_uint8(np.eye(3, dtype=bool))[:, :, 1], np.eye(3) * 255)
    clear = np.dstack((picture, np.zeros(picture.shape[:2], np.uint8)))
    assert (to_rgb_uint8(clear) == 255).all()


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros(5), "shape"),
        (np.zeros((4, 4, 5)), "shape"),
        (np.zeros((0, 4, 3)), "shape"),
        (np.full((4, 4), 300), "scale them"),
        (np.full((4, 4), -1), "scale them"),
        (np.full((4, 4), np.nan), "NaN"),
        (np.full((4, 4), "a"), "type"),
    ],
)
def test_arrays_that_are_no_pictures(array, message):
    with pytest.raises(DataError, match=f"camera 0: .*{message}"):
        to_rgb_uint8(array, "camera 0")
