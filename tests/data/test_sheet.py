"""The contact sheet: what is drawn lies where the targets are."""

import cv2
import numpy as np
import pytest

from ehrnet_tf import cli
from ehrnet_tf.config import load_config
from ehrnet_tf.contact_sheet import CAPTION, captioned, grid
from ehrnet_tf.data.sheet import draw_people, draw_sheet, draw_targets, hues, legend, tag_people
from ehrnet_tf.data.synthetic import make_dataset
from ehrnet_tf.errors import UsageError


@pytest.fixture(scope="module")
def synthetic(tmp_path_factory):
    root = tmp_path_factory.mktemp("synthetic")
    make_dataset(root, train=5, val=1, size=96)
    return root


def test_people_of_the_tag_loss():
    """Two people on a map of 3 rows, 4 columns, 5 keypoints; the second keypoint 1 is given by two cells."""

    def entry(x, y, k):
        return [(y * 4 + x) * 5 + k, 1]

    tags = np.array(
        [
            [entry(3, 2, 0), entry(0, 1, 4), [0, 0]],
            [[0, 0], [0, 0], [0, 0]],
            [entry(0, 0, 1), entry(1, 0, 1), [0, 0]],
        ]
    )
    assert tag_people(tags, (3, 4, 5)) == [{0: (3.5, 2.5), 4: (0.5, 1.5)}, {1: (1.0, 0.5)}]


def test_joints_are_drawn_on_their_cells():
    drawn = draw_people(
        np.zeros((80, 80, 3), np.uint8), [{0: (2.5, 1.5)}, {0: (6.5, 6.5), 1: (6.5, 2.5)}], ((0, 1),), 10
    )
    first, second = hues(2)
    np.testing.assert_array_equal(drawn[15, 25], first)
    np.testing.assert_array_equal(drawn[65, 65], second)
    rows, columns = np.nonzero(drawn[:30, :40].any(axis=2))
    assert rows.mean() == pytest.approx(14.5, abs=0.6) and columns.mean() == pytest.approx(24.5, abs=0.6)
    assert drawn[45, 65].any() and not drawn[45, 25].any()  # a limb of the second; none of the first


def test_targets_and_what_is_left_out():
    heatmaps = np.zeros((16, 16, 3), np.float32)
    heatmaps[4, 4, 0], heatmaps[4, 12, 2] = 1, 1
    weights = np.ones((16, 16), np.float32)
    weights[8:] = 0
    drawn = draw_targets(np.full((160, 160, 3), 200, np.uint8), heatmaps, weights).astype(int)
    for place, k in (((45, 45), 0), ((45, 125), 2)):
        assert np.abs(drawn[place] - hues(3)[k]).max() < 25
    assert (drawn[20, 20] == 100).all()
    hatched = drawn[100:, :].reshape(-1, 3)
    assert set(map(tuple, hatched.tolist())) == {(50, 50, 50), (120, 60, 60)}


def test_colours_differ():
    assert len(np.unique(hues(17), axis=0)) == 17
    assert hues(0).shape == (0, 3)


def test_legend_wraps():
    one, more = legend(("nose", "left_eye"), 400), legend(("nose", "left_eye"), 90)
    assert one.shape == (CAPTION, 400, 3) and more.shape == (2 * CAPTION, 90, 3)
    np.testing.assert_array_equal(one[13, 13], hues(2)[0])


def test_grid_and_caption():
    tiles = [np.full((4, 6, 3), value, np.uint8) for value in (10, 20, 30)]
    sheet = grid(tiles, 2, gap=1)
    assert sheet.shape == (9, 13, 3)
    assert [sheet[0, 0, 0], sheet[0, 7, 0], sheet[5, 0, 0], sheet[5, 7, 0], sheet[4, 0, 0]] == [10, 20, 30, 255, 255]
    assert captioned(tiles[0], "x").shape == (4 + CAPTION, 6, 3)


@pytest.mark.parametrize("both", [False, True])
def test_sheet(synthetic, tmp_path, both):
    overrides = ["model.input_size=64", f"model.tags_on_both_stages={both}", "data.tag_radius=1"]
    path = draw_sheet(tmp_path / "sheet.png", synthetic, "train2017", load_config(None, overrides), samples=3)
    height, width = cv2.imread(str(path)).shape[:2]
    assert width == 2 * (3 * 320 + 2 * 4) + 12
    assert height > 2 * (320 + CAPTION)


def test_command(synthetic, tmp_path, capsys):
    sheet, config = tmp_path / "sheet.jpg", ["--config", "demo", "model.input_size=64", "train.batch_size=100"]
    assert cli.main(["check-data", str(synthetic), "--sheet", str(sheet), *config]) == 0
    assert f"samples of train2017: {sheet}" in capsys.readouterr().out
    assert sheet.is_file()


def test_what_is_refused(synthetic, tmp_path):
    config = load_config()
    with pytest.raises(UsageError, match=r"end its name in \.jpg or \.png"):
        draw_sheet(tmp_path / "sheet.txt", synthetic, "train2017", config)
    with pytest.raises(UsageError, match="samples 0"):
        draw_sheet(tmp_path / "sheet.png", synthetic, "train2017", config, samples=0)


def test_a_picture_that_cannot_be_decoded_is_black(tmp_path, capsys):
    make_dataset(tmp_path / "d", train=2, val=1, size=96)
    path = next((tmp_path / "d" / "train2017").iterdir())
    content = path.read_bytes()
    path.write_bytes(content[: content.index(b"\xff\xda")] + b"\xff\xd9")
    assert cli.main(["check-data", str(tmp_path / "d"), "--sheet", str(tmp_path / "s.png")]) == 0
    assert (tmp_path / "s.png").is_file()
