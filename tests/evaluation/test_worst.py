"""Which misses are drawn, in which order, and what is written."""

import cv2
import numpy as np
import pytest

from ehrnet_tf.data.coco import Record
from ehrnet_tf.data.shards import Place
from ehrnet_tf.errors import UsageError
from ehrnet_tf.evaluation.breakdown import Person
from ehrnet_tf.evaluation.worst import draw_worst, rank
from ehrnet_tf.keypoints import KeypointSet

DICE = KeypointSet.from_dict({"name": "dice", "keypoints": list("abcde"), "skeleton": [["a", "b"], ["c", "d"]]})
FIVE = np.array([[5, 5], [45, 5], [5, 35], [45, 35], [25, 20]], float)
SIMILARITY = {"good": 1.0, "jitter": 0.7, "inversion": 0.0, "swap": 0.0, "miss": 0.0, "": 0.0}


def person(kinds, image_id=1, area=1000.0, jitter=0.7):
    """A person by the kinds of its joints: g(ood), j(itter), i(nversion), s(wap), m(iss), - (not labelled)."""
    names = {"g": "good", "j": "jitter", "i": "inversion", "s": "swap", "m": "miss", "-": ""}
    kinds = tuple(names[kind] for kind in kinds)
    labelled = np.column_stack((FIVE, [2 * bool(kind) for kind in kinds]))
    similarity = np.array([jitter if kind == "jitter" else SIMILARITY[kind] for kind in kinds])
    return Person(image_id, labelled, area, (5, 5, 40, 30), None, similarity, kinds)


@pytest.fixture
def records(tmp_path):
    """Two pictures, of 60x40 and 40x90 pixels."""
    made = []
    for image_id, (height, width) in {1: (40, 60), 2: (90, 40)}.items():
        path = tmp_path / "pictures" / f"photo{image_id}.png"
        path.parent.mkdir(exist_ok=True)
        cv2.imwrite(str(path), np.full((height, width, 3), 60 * image_id, np.uint8))
        nobody = np.zeros((0, 5, 3), np.float32), np.zeros(0, np.float32), np.zeros((0, 4), np.float32)
        made.append(Record(image_id, str(path), width, height, *nobody, b"", Place(str(path))))
    return made


def found(image_id, score=0.9):
    points = np.column_stack((FIVE + 3, np.full(5, 0.9)))
    return {"image_id": image_id, "category_id": 1, "keypoints": points.ravel().tolist(), "score": score}


def test_the_kinds_take_turns():
    people = [person(kinds) for kinds in ("ggggj", "mmmmm", "ggggs", "gggjj", "mmmmg", "mmmgg", "ggggg")]
    ranked = rank(people)
    assert [kind for kind, _ in ranked] == ["missed", "swapped", "jitter", "missed", "jitter", "missed"]
    assert [people.index(who) for _, who in ranked] == [1, 2, 3, 4, 0, 5]


def test_what_is_worse_in_each_kind():
    missed = [person("mmmmm", area=10), person("mmmgg"), person("mmmmm", area=90), person("mmmmg")]
    assert [missed.index(who) for _, who in rank(missed)] == [2, 0, 3, 1]
    swapped = [person("gggss"), person("ggsss"), person("mggss")]
    assert [swapped.index(who) for _, who in rank(swapped)] == [1, 2, 0]
    jitter = [person("ggggj", jitter=0.6), person("ggggj", jitter=0.5), person("gggjj", jitter=0.8), person("ggg-j")]
    assert [jitter.index(who) for _, who in rank(jitter)] == [1, 0, 2, 3]


def test_nobody_is_shown_twice_and_who_is_right_not_at_all():
    people = [person("ssmmm"), person("jjmmm"), person("ggsjj"), person("ggggg"), person("gggg-")]
    ranked = rank(people)
    assert [(kind, people.index(who)) for kind, who in ranked] == [("missed", 1), ("swapped", 0), ("swapped", 2)]
    assert rank([]) == []


def test_files_and_their_names(records, tmp_path):
    people = [person("mmmmm", 1), person("ggggs", 2), person("ggggj", 2), person("mmmmm", 2)]
    paths = draw_worst(people, [found(1), found(2), found(2)], records, DICE, 3, tmp_path / "out" / "worst")
    assert [path.name for path in paths] == ["01_missed_photo1.jpg", "02_swapped_photo2.jpg", "03_jitter_photo2.jpg"]
    assert {path.name for path in paths[0].parent.iterdir()} == {path.name for path in paths} | {"overview.jpg"}
    tiles = [cv2.imread(str(path)) for path in paths]
    assert len({tile.shape for tile in tiles}) == 1
    height, width, _ = tiles[0].shape
    overview = cv2.imread(str(paths[0].with_name("overview.jpg")))
    assert overview.shape == (2 * height, 2 * width, 3)
    for tile, (row, column) in zip(tiles, ((0, 0), (0, 1), (1, 0)), strict=True):
        part = overview[row * height : (row + 1) * height, column * width : (column + 1) * width]
        assert np.abs(part.astype(int) - tile).mean() < 3
    assert overview[height:, width:].min() > 250


def test_fewer_where_less_went_wrong(records, tmp_path):
    people = [person("ggggg", 1), person("mmmmm", 2)]
    assert len(draw_worst(people, [], records, DICE, 9, tmp_path / "out")) == 1
    assert len(list((tmp_path / "out").iterdir())) == 2
    assert draw_worst(people[:1], [found(1)], records, DICE, 9, tmp_path / "none") == []


def test_labelled_on_the_left_and_found_on_the_right(records, tmp_path):
    (path,) = draw_worst([person("mmmmm", 1)], [], records, DICE, 1, tmp_path / "labelled")
    tile = cv2.imread(str(path)).astype(int)
    left, right = tile[26:, : tile.shape[1] // 2], tile[26:, tile.shape[1] // 2 :]
    middle = np.array([200, 280]), np.array([150, 330])  # rows and columns round the joint e, inside the box
    window = np.s_[middle[0][0] : middle[0][1], middle[1][0] : middle[1][1]]
    assert np.ptp(left[window]) > 100
    assert np.abs(right[window] - 60).max() < 12
    (path,) = draw_worst([person("mmmmm", 1)], [found(1)], records, DICE, 1, tmp_path / "found")
    tile = cv2.imread(str(path)).astype(int)
    assert np.ptp(tile[26:, tile.shape[1] // 2 :][window]) > 100


def test_doubtful_people_are_not_drawn(records, tmp_path):
    nobody, doubtful, sure = (
        cv2.imread(str(draw_worst([person("mmmmm", 1)], results, records, DICE, 1, tmp_path / str(n))[0]))
        for n, results in enumerate(([], [found(1, 0.05)], [found(1, 0.2)]))
    )
    np.testing.assert_array_equal(doubtful, nobody)
    assert (sure != nobody).any()


def test_a_box_marks_the_person(records, tmp_path):
    (path,) = draw_worst([person("mmmmm", 1)], [], records, DICE, 1, tmp_path / "out")
    tile = cv2.imread(str(path))[26:, :, ::-1].astype(int)
    red = (np.abs(tile - (230, 60, 60)).sum(axis=2) < 90)[:, 480:]
    rows, columns = np.nonzero(red.any(axis=1))[0], np.nonzero(red.any(axis=0))[0]
    # 8 input pixels a picture pixel, 80 rows of border above: 5, 5, 40 x 30
    np.testing.assert_allclose([columns[0], columns[-1], rows[0], rows[-1]], [40, 360, 120, 360], atol=4)


def test_pictures_of_an_earlier_call_go(records, tmp_path):
    folder = tmp_path / "out"
    people = [person("mmmmm", 1), person("ggggs", 2), person("ggggj", 2)]
    draw_worst(people, [], records, DICE, 3, folder)
    for name in ("notes.txt", "07_holiday.jpg"):
        (folder / name).write_text("mine")
    draw_worst(people[2:], [], records, DICE, 3, folder)
    names = {path.name for path in folder.iterdir()}
    assert names == {"01_jitter_photo2.jpg", "overview.jpg", "notes.txt", "07_holiday.jpg"}


def test_the_overview_of_an_earlier_call_goes_too(records, tmp_path):
    draw_worst([person("mmmmm", 1)], [], records, DICE, 3, tmp_path / "out")
    assert draw_worst([person("ggggg", 1)], [], records, DICE, 3, tmp_path / "out") == []
    assert not list((tmp_path / "out").iterdir())


@pytest.mark.parametrize("count", [0, -1])
def test_a_count_that_cannot_be(count, records, tmp_path):
    with pytest.raises(UsageError, match=f"worst {count}: must be at least 1"):
        draw_worst([person("mmmmm", 1)], [], records, DICE, count, tmp_path / "out")
    assert not (tmp_path / "out").exists()
