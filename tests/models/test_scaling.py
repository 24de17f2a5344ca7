import itertools

import pytest

from ehrnet_tf.errors import UsageError
from ehrnet_tf.models.scaling import classifier_scale, make_divisible, multipliers, scale, variant_name

# variant: input, stem, stage widths, repeats, branch widths, fusion modules (as published)
PUBLISHED = {
    "H0": (512, 32, (16, 24, 40, 80, 112, 192, 320), (1, 2, 2, 3, 3, 4, 1), (32, 64, 128, 256), (1, 4, 3)),
    "H-1": (480, 32, (16, 24, 40, 72, 104, 176, 288), (1, 2, 2, 3, 3, 4, 1), (26, 52, 103, 206), (1, 3, 3)),
    "H-2": (448, 24, (16, 24, 32, 64, 96, 160, 264), (1, 2, 2, 3, 3, 3, 1), (21, 42, 83, 166), (1, 2, 3)),
    "H-3": (416, 24, (16, 24, 32, 64, 88, 144, 240), (1, 2, 2, 2, 2, 3, 1), (17, 34, 67, 133), (1, 1, 3)),
    "H-4": (384, 24, (16, 16, 32, 56, 80, 128, 216), (1, 1, 1, 2, 2, 2, 1), (14, 27, 54, 107), (1, 1, 2)),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_sizes(name):
    s = scale(name)
    found = (
        s.input_size,
        s.stem_width,
        tuple(b.width for b in s.stages),
        tuple(b.repeats for b in s.stages),
        s.branch_widths,
        s.modules,
    )
    assert found == PUBLISHED[name]
    assert s.name == name


@pytest.mark.parametrize("phi", [-2.5, -0.3, 0.5, 2, 3.7])
def test_any_phi(phi):
    s = scale(phi)
    assert s.input_size % 32 == 0
    assert s.phi == phi
    assert list(s.branch_widths) == sorted(s.branch_widths)


def test_multipliers_between_and_beyond_efficientnets_own():
    assert multipliers(2) == (1.1, 1.2)
    assert multipliers(2.5) == pytest.approx((1.15, 1.3))
    assert multipliers(-2) == pytest.approx((1.1**-2, 1.2**-2))
    values = [multipliers(phi / 4) for phi in range(-20, 40)]
    for one, following in itertools.pairwise(values):
        assert following[0] >= one[0] and following[1] > one[1]


def test_width_divisor():
    assert scale("H-4", width_divisor=8).branch_widths == (16, 32, 56, 104)


def test_edge_family():
    edge, published = scale("E-2"), scale("H-2")
    assert (edge.name, edge.input_size, edge.stages, edge.modules) == ("E-2", 448, published.stages, published.modules)
    assert edge.branch_widths == (24, 40, 80, 168)
    assert scale("E-2", width_divisor=1).branch_widths == published.branch_widths
    assert scale("H-0") == scale(-0.0) == scale("H0")
    assert scale("e-2") == edge and scale(-2) == scale("-2") == published


@pytest.mark.parametrize(
    ("name", "size", "width"),
    [("B0", 224, 1280), ("B-1", 195, 1160), ("b-2", 169, 1056), (-3, 147, 960), ("-4", 128, 872)],
)
def test_classifiers(name, size, width):
    found = classifier_scale(name)
    assert (found.input_size, found.width) == (size, width)
    assert (found.stem_width, found.stages) == (scale(found.phi).stem_width, scale(found.phi).stages)


@pytest.mark.parametrize("name", ["H0", "E-2", "B", "B-99", "x"])
def test_bad_classifier(name):
    with pytest.raises(UsageError, match="variant"):
        classifier_scale(name)


@pytest.mark.parametrize(("value", "expected"), [(32 * 0.909, 32), (21.8, 24), (26.4, 24), (1, 8), (35.9, 40)])
def test_make_divisible(value, expected):
    assert make_divisible(value) == expected


@pytest.mark.parametrize("name", ["B0", "H", "", "H--4", "H-99"])
def test_bad_variant(name):
    with pytest.raises(UsageError, match="variant"):
        scale(name)


@pytest.mark.parametrize("divisor", [0, -8, 2.5, "8"])
def test_bad_divisor(divisor):
    with pytest.raises(UsageError, match="width_divisor"):
        scale("H0", width_divisor=divisor)


@pytest.mark.parametrize(
    ("model", "variant"),
    [("efficienthrnet_h-2.5", "H-2.5"), ("compactefficientnet_b0", "B0"), ("functional_1", None), ("mine_h-2", None)],
)
def test_variant_of_a_model_name(model, variant):
    assert variant_name(model) == variant
