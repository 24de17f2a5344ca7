"""The figures of docs/how-it-works.md: drawn from small networks, and what they show."""

import csv
import re
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from ehrnet_tf.models.scaling import scale
from ehrnet_tf.runtime.estimator import PoseEstimator
from painted import BLUE, RED, SET, paint, picture, tiny

DOCS = Path(__file__).parents[2] / "docs"
FILES = Path(__file__).parents[1] / "golden" / "android"
MOST_BYTES = 250_000


@pytest.fixture(scope="module", autouse=True)
def figures():
    """Makes the scripts importable, and their drawings small and quick."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(DOCS / "figures"))
        import how_style

        patch.setattr(how_style, "DPI", 40)
        yield
    for name in [name for name in sys.modules if name.startswith(("how_", "choosing"))]:
        del sys.modules[name]


@pytest.fixture(scope="module")
def model():
    from ehrnet_tf import EfficientHRNet

    return EfficientHRNet("H-4")


@pytest.fixture(scope="module")
def scene():
    """Two painted people in a picture twice as wide as high, by a network of 64x64 pixels."""
    from how_scene import Scene

    wide = np.pad(picture(), ((0, 0), (0, 64), (0, 0)), mode="edge")
    return Scene(wide, PoseEstimator(paint(tiny(keypoints=4)), keypoints=SET, min_score=0.1))


@pytest.fixture(scope="module")
def truth():
    """The painted people as COCO annotations."""
    joints = np.stack([RED, BLUE, RED, BLUE], axis=1)  # (2 people, 4 joints, 2)
    return [{"keypoints": np.column_stack((person, np.full(4, 2))).ravel().tolist()} for person in joints]


def is_drawing(path):
    """Whether a figure is there, 8 inches wide, with something in it."""
    with Image.open(path) as image:
        return image.width == 320 and len(image.convert("RGB").getcolors(1 << 20)) > 8


def test_scaling_figure_has_the_models_numbers(model, tmp_path):
    from how_scaling import draw, measure

    measured = measure(model)
    assert measured["phi"] == -4
    assert measured["parameters"] == 2_764_706
    assert measured["macs"] == sum(measured["parts"].values()) == 1_807_480_224
    assert is_drawing(draw(tmp_path, [measured]))


def test_graph_is_read_as_the_scaling_says(model):
    from how_graph import backbone_stages, modules, node, taps

    dimensions = scale("H-4")
    stages = backbone_stages(model)
    assert [len(stage) for stage in stages] == [stage.repeats for stage in dimensions.stages]
    assert [stage[-1].channels for stage in stages] == [stage.width for stage in dimensions.stages]
    found = [node(model, name) for name in taps(model)]
    assert [(n.size, n.channels) for n in found] == list(
        zip((96, 48, 24, 12), [stage.width for stage in dimensions.stages if stage.tap], strict=True)
    )
    assert len(modules(model)) == sum(dimensions.modules)


def test_exchange_is_walked_from_sums_to_branches(model):
    from how_graph import branches, exchange

    widths = scale("H-4").branch_widths
    assert tuple(n.channels for n in branches(model, "stage4_module0")) == widths
    edges = exchange(model, "stage4_module0")
    assert sorted((e.source, e.target) for e in edges) == [(s, t) for s in range(4) for t in range(4)]
    for edge in edges:
        assert edge.halvings == max(0, edge.target - edge.source)
        assert edge.factor == 2 ** max(0, edge.source - edge.target)
        assert (edge.channels[0], edge.channels[-1]) == (widths[edge.source], widths[edge.target])
        assert bool(edge.layers) == (edge.source != edge.target)
    assert {e.target for e in exchange(model, "stage4_module1")} == {0}  # the last gives the finest alone


def test_network_figures(model, tmp_path):
    from how_network import draw

    files = draw(tmp_path, model)
    assert [file.name for file in files] == ["how_network.png", "how_fusion.png", "how_head.png"]
    assert all(map(is_drawing, files))


def test_candidates_are_the_decoders_and_grouping_gives_its_people(scene):
    candidates = scene.candidates()
    assert [len(found) for found in candidates] == [2, 2, 2, 2]
    for k, places in enumerate((RED, BLUE, RED, BLUE)):
        found = scene.prepared.box.to_image(candidates[k][:, :2] * scene.stride)
        order = found[:, 0].argsort()
        np.testing.assert_allclose(found[order], places, atol=3)  # the network sees blocks of 8 pixels
        assert (np.diff(candidates[k][:, 2]) <= 0).all()
    people, _ = scene.decode(refine=False)
    np.testing.assert_array_equal(scene.grouped(), people)
    assert len(scene.shown) == 2
    assert (scene.grouped(1)[:, :, 2] > 0).sum(axis=0).tolist() == [0, 2, 0, 0]  # "b" is visited first


def test_figures_of_maps(scene, tmp_path):
    from how_maps import draw_heatmaps, draw_task, frame

    assert frame(scene) == (0, 128, 96, -32)  # letterbox bars of 16 of 64 input pixels
    assert is_drawing(draw_task(tmp_path, scene))
    assert is_drawing(draw_heatmaps(tmp_path, scene))


def test_figures_of_tags(scene, truth, tmp_path):
    from how_tags import draw_losses, draw_tags, two_people

    assert is_drawing(draw_tags(tmp_path, scene))
    file, losses = draw_losses(tmp_path, scene, truth)
    assert is_drawing(file)
    assert losses["trained"] == pytest.approx((0, 0), abs=1e-6)  # tags painted 10 apart
    assert losses["at random"][1] > 0.3
    distances = np.array([0, 1, 2], np.float32)
    np.testing.assert_allclose(two_people(distances, "exp"), 0.5 * np.exp([0, -1, -4]), atol=1e-6)
    np.testing.assert_allclose(two_people(distances, "hinge"), [0.5, 0.25, 0], atol=1e-6)


def test_figures_of_decoding(scene, tmp_path):
    from how_decoding import draw_grouping, draw_steps, draw_subpixel, refined, row_curve

    assert refined(scene) == []
    assert is_drawing(draw_steps(tmp_path, scene))
    assert is_drawing(draw_grouping(tmp_path, scene))
    file, offset = draw_subpixel(tmp_path, scene)
    assert is_drawing(file)
    moved = np.concatenate(scene.candidates())[:, :2] - np.concatenate(scene.candidates(adjust=False))[:, :2]
    assert np.abs(moved - offset).max(axis=1).min() < 1e-6
    y, x = np.mgrid[-1:2, -1:2]
    gauss = np.exp(-((x - 0.3) ** 2 + (y + 0.2) ** 2) / 8).astype(np.float32)
    at = np.linspace(-1, 1, 201)
    assert at[row_curve(gauss)(at).argmax()] == pytest.approx(0.3)
    assert row_curve(gauss)(at).max() == pytest.approx(1, abs=1e-5)


def test_refinement_is_shown_where_a_joint_is_lacking(scene, tmp_path):
    """A joint whose peak lies in the other's window is found by refinement, where the figure's map is highest."""
    from how_decoding import draw_steps, refined, worth
    from how_scene import Scene

    lacking = Scene(scene.picture, scene.estimator)
    maps = {name: values.copy() for name, values in scene.maps.items()}
    heat = maps["heatmaps_2"][:, :, 3]
    x, y = scene.candidates(adjust=False)[3][1, :2].astype(int)
    heat[:] = 0
    heat[y, x - 2 : x + 1] = 0.5, 0.45, 0.4  # one peak only, on a slope that ends at the person of lower heat
    maps["tags"][y // 2, (x - 2) // 2, 3] = 10 - maps["tags"][y // 2, x // 2, 3]  # the peak is the other's
    lacking.__dict__["maps"] = maps
    ((person, keypoint),) = refined(lacking)
    assert keypoint == 3
    value = worth(lacking, person, keypoint)
    row, column = np.unravel_index(np.nanargmax(value), value.shape)
    found = lacking.decode()[0][person, keypoint]
    assert (row, column) == (int(found[1]), int(found[0]))
    assert np.nanmax(value) == found[2]
    assert is_drawing(draw_steps(tmp_path, lacking))


def test_figures_of_training(tmp_path):
    from how_scene import made_up
    from how_training import SEEDS, augmented, draw_targets, labels

    image, annotations = made_up()
    assert len(annotations) == 3
    file, targets = draw_targets(tmp_path, image, annotations)
    assert is_drawing(file)
    _, people, mask = augmented(image, labels(annotations), SEEDS[2])
    assert (targets.max(axis=(0, 1)) == (people[:, :, 2] > 0).any(axis=0)).all()
    for joints in people:
        for k in np.flatnonzero(joints[:, 2] > 0):
            x, y = (joints[k, :2] / 2).astype(int)
            assert targets[y, x, k] == 1
            assert mask[y, x]
    assert 0.5 < (mask > 0).mean() < 0.9


def test_figure_of_integers(tmp_path):
    from how_integers import draw
    from how_scene import Scene

    image = cv2.imread(str(FILES / "picture.png"))[..., ::-1]
    whole, rounded = (
        Scene(image, PoseEstimator(FILES / f"painted_{precision}.tflite")) for precision in ("float32", "int8")
    )
    file, found = draw(tmp_path, whole, rounded)
    assert is_drawing(file)
    assert 2 < found["levels"] <= 256
    assert 0 < found["mean"] < found["largest"] < 0.05


def test_figures_by_name(tmp_path, capsys):
    from draw import main

    files = main(["--only", "augmentation", "--out", str(tmp_path / "out")])
    assert files == [tmp_path / "out" / "how_augmentation.jpg"]
    assert is_drawing(files[0])
    assert capsys.readouterr().out.split() == [str(files[0])]


def test_what_lacks_is_asked_for(tmp_path, capsys):
    from draw import main

    for arguments, wanted in ((["--only", "tags"], "give a .keras file"), (["x.keras"], "give --int8 FILE")):
        with pytest.raises(SystemExit) as stop:
            main([*arguments, "--out", str(tmp_path / "out")])
        assert stop.value.code == 2
        assert wanted in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_page_shows_every_figure_with_a_text_in_place_of_it():
    page = (DOCS / "how-it-works.md").read_text(encoding="utf-8")
    shown = re.findall(r"!\[([^\]]*)\]\(images/(how_\w+\.\w+)\)", page)
    assert all(len(text) > 20 for text, _ in shown)
    assert sorted(file for _, file in shown) == sorted(path.name for path in (DOCS / "images").glob("how_*"))
    for _, file in shown:
        path = DOCS / "images" / file
        assert path.stat().st_size < MOST_BYTES
        with Image.open(path) as image:
            assert image.width == 1600


def test_choosing_has_the_measured_milliseconds(tmp_path):
    import choosing

    drawn = choosing.points()
    with open(choosing.VARIANTS, encoding="utf-8", newline="") as file:
        rows = {row["config"]: row for row in csv.DictReader(file)}
    for precision, line in drawn.items():
        assert [name for name, *_ in line] == ["H0", "H-1", "H-2", "H-3", "H-4"]
        assert [ms for _, ms, _ in line] == [float(rows[name.lower()][f"{precision}_ms_median"]) for name, *_ in line]
    assert is_drawing(choosing.draw(tmp_path))
