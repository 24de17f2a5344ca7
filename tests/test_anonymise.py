"""Whose head is covered, where, and how little of it is left."""

import cv2
import numpy as np
import pytest

from ehrnet_tf import keypoints
from ehrnet_tf.anonymise import HOW, anonymise, heads
from ehrnet_tf.errors import UsageError
from ehrnet_tf.keypoints import KeypointSet

COCO = keypoints.load("coco")
INDEX = {name: k for k, name in enumerate(COCO.names)}
FACE, SHOULDERS, HIPS = range(5), (5, 6), (11, 12)
# Someone who stands upright, in units of the head's height from the middle of the head.
STANDING = np.array(
    [(0, 0.1), (0.14, 0), (-0.14, 0), (0.32, 0.03), (-0.32, 0.03), (0.8, 0.95), (-0.8, 0.95), (1.1, 2.2), (-1.1, 2.2)]
    + [(1.2, 3.3), (-1.2, 3.3), (0.45, 3.1), (-0.45, 3.1), (0.5, 5), (-0.5, 5), (0.5, 6.8), (-0.5, 6.8)]
)
HEAD = np.stack([0.33 * np.cos(np.linspace(0, 6.28, 40)), 0.5 * np.sin(np.linspace(0, 6.28, 40))], axis=1)


def person(x, y, head, without=()):
    people = np.ones((1, 17, 3), np.float32)
    people[0, :, :2] = STANDING * head + (x, y)
    people[0, list(without), 2] = 0
    return people


def noise(height=400, width=600):
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def head_pixels(shape, x, y, head):
    """(H, W) bool: the ellipse of a head, 2/3 as wide as high."""
    rows, columns = np.mgrid[: shape[0], : shape[1]] + 0.5
    return ((columns - x) / (0.33 * head)) ** 2 + ((rows - y) / (0.5 * head)) ** 2 <= 1


def fine(image):
    """Detail finer than some pixels."""
    image = image.astype(np.float32)
    return image - cv2.GaussianBlur(image, (0, 0), 3)


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("without", [(), FACE, (*FACE, *HIPS), (1, 3), (0, 1, 2, 4), (*SHOULDERS, *HIPS)])
def test_nothing_fine_is_left_of_a_head_and_nothing_else_changes(how, without):
    image = noise()
    covered = anonymise(image, person(200, 120, 60, without), COCO, how)
    inside = head_pixels(image.shape, 200, 120, 60)
    assert (covered[inside] != image[inside]).any(axis=1).mean() > 0.98
    detail = fine(covered)[inside].std() / fine(image)[inside].std()
    assert detail < 0.15
    alike = np.corrcoef(fine(covered)[inside].ravel(), fine(image)[inside].ravel())[0, 1]
    assert abs(alike) < 0.2
    rows, columns = np.mgrid[:400, :600]
    far = np.hypot(columns - 200, rows - 120) > 2.6 * 60
    np.testing.assert_array_equal(covered[far], image[far])
    assert (image == noise()).all()


@pytest.mark.parametrize("head", [24, 100, 300])
def test_a_blur_takes_what_is_as_large_as_half_a_head(head):
    stripes = np.zeros((800, 800, 3), np.uint8)
    stripes[:] = np.where(np.arange(800) % (head // 2) < head // 4, 0, 255)[None, :, None]
    covered = anonymise(stripes, person(400, 350, head), COCO, "blur")
    assert np.ptp(covered[head_pixels(stripes.shape, 400, 350, head)].astype(int)) < 0.15 * 255


def test_pixelated_heads_are_few_blocks():
    for head in (40, 200):
        covered = anonymise(noise(700, 700), person(350, 250, head), COCO, "pixelate")
        square = covered[250 - head // 2 : 250 + head // 2, 350 - head // 2 : 350 + head // 2]
        steps = (np.diff(square.astype(int), axis=0) != 0).any(axis=(1, 2)).sum()
        assert 2 <= steps <= 6
        assert len(np.unique(square.reshape(-1, 3), axis=0)) <= 49


@pytest.mark.parametrize("how", HOW)
def test_every_person_is_covered(how):
    image = noise(500, 900)
    places = [(90 + 150 * column, 60 + 140 * row) for column in range(6) for row in range(3)]
    hidden = [(), FACE, (0, 2, 4), (*FACE, 6), SHOULDERS, (*FACE, *HIPS)]
    people = np.concatenate([person(x, y, 24, hidden[n % 6]) for n, (x, y) in enumerate(places)])
    covered = anonymise(image, people, COCO, how)
    for x, y in places:
        inside = head_pixels(image.shape, x, y, 24)
        assert fine(covered)[inside].std() < 0.35 * fine(image)[inside].std()
        assert (covered[inside] != image[inside]).any(axis=1).mean() > 0.95
    np.testing.assert_array_equal(anonymise(image, people[:0], COCO, how), image)


def test_a_small_head_before_a_large_one_does_not_bring_it_back():
    image = noise()
    large, small = person(300, 150, 200), person(310, 160, 12)
    for order in ((large, small), (small, large)):
        covered = anonymise(image, np.concatenate(order), COCO, "pixelate")
        inside = head_pixels(image.shape, 300, 150, 200)
        assert fine(covered)[inside].std() < 0.25 * fine(image)[inside].std()


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize(("x", "y"), [(0, 0), (600, 5), (-15, 200), (300, 410), (612, 395)])
def test_heads_partly_outside(how, x, y):
    image = noise()
    covered = anonymise(image, person(x, y, 80), COCO, how)
    inside = head_pixels(image.shape, x, y, 80)
    assert inside.any()
    assert (covered[inside] != image[inside]).any(axis=1).mean() > 0.97
    assert covered.shape == image.shape


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("head", [0, 1, 3, 5, 3000])
def test_tiny_and_huge_heads(how, head):
    image = noise()
    covered = anonymise(image, person(300.5, 200.5, head), COCO, how)
    radius = int(max(0.5 * head, 1))
    square = np.s_[max(0, 200 - radius) : 201 + radius, max(0, 300 - radius) : 301 + radius]
    assert (covered[square] != image[square]).any(axis=2).mean() > 0.9
    assert covered[square].std() < 0.7 * image[square].std()
    if head <= 5:
        np.testing.assert_array_equal(covered[:150], image[:150])
        np.testing.assert_array_equal(covered[260:], image[260:])


def test_nobody_who_is_outside_or_no_number_harms():
    image = noise(40, 50)
    people = np.concatenate([person(1e9, -1e9, 1e8), person(np.nan, 3, 5), person(25, 20, 0, range(17))])
    np.testing.assert_array_equal(anonymise(image, people[1:], COCO), image)
    assert anonymise(image, people, COCO).shape == image.shape
    assert anonymise(image[:1, :1], person(0, 0, 3), COCO).shape == (1, 1, 3)


def test_joints_below_the_minimum_are_not_believed():
    people = person(200, 120, 40, FACE)
    people[0, 0] = (500, 350, 0.01)  # a nose in the wrong place
    (wrong,) = heads(noise(), people, COCO)
    (right,) = heads(noise(), people, COCO, min_score=0.05)
    assert wrong.discs[0, 0] == 500
    np.testing.assert_allclose(right.discs[0, :2], (200, 120), atol=20)


@pytest.mark.parametrize("turn", [0, 70, 130, 180, 250])
def test_the_estimate_follows_the_body(turn):
    angle = np.deg2rad(turn)
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    people = person(0, 0, 50, FACE)
    people[0, :, :2] = people[0, :, :2] @ rotation.T + (300, 200)
    (head,) = heads(noise(), people, COCO)
    outline = 50 * HEAD @ rotation.T + (300, 200)
    assert covers(head, outline).all()
    assert 40 < head.size < 110


@pytest.mark.parametrize(
    "without",
    [
        (*FACE, 5),
        (*FACE, 6, *HIPS),
        (*FACE, *SHOULDERS),
        (*FACE, *HIPS, 7, 8, 9, 10),
        (0, 1, 2, 3, *SHOULDERS),
        (0, 3, 4),
    ],
)
def test_the_whole_head_is_covered_however_little_is_seen(without):
    (head,) = heads(noise(), person(300, 200, 50, without), COCO)
    assert covers(head, 50 * HEAD + (300, 200)).all()
    assert head.discs[:, 2].max() < 150


def test_an_ear_alone_is_not_taken_for_the_middle_of_the_head():
    people = person(300, 200, 50, range(4))
    people[0, 4, :2] = (300 - 15, 200 + 12)  # at the jaw
    (head,) = heads(noise(), people, COCO)
    assert covers(head, 50 * HEAD + (300, 200)).all()
    assert head.discs[:, 2].max() == pytest.approx(1.1 * head.size)


def covers(head, points):
    return (np.hypot(*(head.discs[None, :, :2] - points[:, None]).transpose(2, 0, 1)) <= head.discs[:, 2]).any(axis=1)


@pytest.mark.parametrize("seen", [[7, 8, 9, 10], [13, 15], []])
def test_limbs_alone_tell_no_head(seen):
    assert heads(noise(), person(300, 200, 50, set(range(17)) - set(seen)), COCO) == []


def test_a_face_alone_is_covered_by_the_size_of_the_picture():
    (head,) = heads(noise(), person(300, 200, 50, range(1, 17)), COCO)
    assert covers(head, 50 * HEAD + (300, 200)).all()


PLACES = {"nose": (0, 0.1), "head": (0, -0.5), "head_top": (0, -0.5), "neck": (0, 0.65), "upper_neck": (0, 0.6)}
PLACES |= {"LEye": (0.14, 0), "rightEar": (-0.32, 0), "left_shoulder": (0.8, 0.95), "right_shoulder": (-0.8, 0.95)}
PLACES |= {"thorax": (0, 1), "left_hip": (0.4, 3.1), "right_hip": (-0.4, 3.1), "tail": (3, 3)}


@pytest.mark.parametrize(
    "names",
    [
        ("head", "neck", "left_shoulder", "right_shoulder"),  # as in CrowdPose
        ("head_top", "upper_neck", "thorax", "left_shoulder"),  # as in MPII
        ("head", "left_shoulder", "right_shoulder"),
        ("neck", "left_hip", "right_hip", "left_shoulder", "right_shoulder"),
        ("LEye", "rightEar", "tail"),
    ],
)
def test_heads_of_other_sets_by_name(names):
    own = KeypointSet("own", names, (), (), (0.05,) * len(names), tuple(range(len(names))))
    people = np.array([[(*(60 * np.array(PLACES[name]) + (300, 200)), 1) for name in names]])
    (head,) = heads(noise(), people, own)
    assert covers(head, 60 * HEAD + (300, 200)).all()
    assert 50 < head.size < 160


@pytest.mark.parametrize("name", ["coco", "coco-wholebody", "crowdpose", "mpii"])
def test_supplied_sets_have_heads(name):
    points = keypoints.load(name)
    people = np.random.default_rng(0).uniform(100, 200, (1, len(points), 3))
    assert len(heads(noise(), people, points)) == 1


@pytest.mark.parametrize("names", [("forearm", "rear", "machine", "bear_paw"), ("left_hip", "left_knee")])
def test_a_set_without_heads_is_refused(names):
    lamp = KeypointSet("lamp", names, (), (), (0.05,) * len(names), tuple(range(len(names))))
    with pytest.raises(UsageError, match=r"'lamp': names neither a head .* nor shoulders"):
        anonymise(noise(), np.zeros((0, len(names), 3)), lamp)


def test_what_cannot_be_used():
    with pytest.raises(UsageError, match="'smear': give blur or pixelate"):
        anonymise(noise(), person(0, 0, 5), COCO, "smear")
    with pytest.raises(UsageError, match="uint8"):
        anonymise(noise().astype(np.float32), person(0, 0, 5), COCO)
    with pytest.raises(UsageError, match="give"):
        anonymise(noise(), person(0, 0, 5)[0], COCO)
