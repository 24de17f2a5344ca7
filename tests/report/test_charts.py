"""Ticks, scales and what the charts say in words."""

import re

import pytest

from ehrnet_tf.report.charts import HEIGHT, WIDTH, Series, line_chart, linear_ticks, log_ticks, stacked_bar


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1]),
        (0, 0.0089, [0, 0.002, 0.004, 0.006, 0.008, 0.01]),
        (3, 17, [0, 5, 10, 15, 20]),
        (5, 5, [2, 3, 4, 5, 6, 7, 8]),
        (0, 0, [-1, -0.5, 0, 0.5, 1]),
    ],
)
def test_linear_ticks(low, high, ticks):
    assert linear_ticks(low, high) == pytest.approx(ticks)


def test_ticks_of_what_is_counted_are_whole():
    assert linear_ticks(1, 4, whole=True) == [1, 2, 3, 4]
    assert linear_ticks(1, 300, whole=True) == [0, 50, 100, 150, 200, 250, 300]


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (0.0016, 0.055, [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1]),
        (0.02, 0.3, [0.02, 0.05, 0.1, 0.2, 0.5]),
        (0.003, 4, [0.001, 0.01, 0.1, 1, 10]),
        (1e-12, 1, [1e-12, 1e-9, 1e-6, 1e-3, 1]),
        (1, 1, [1]),
    ],
)
def test_log_ticks(low, high, ticks):
    assert log_ticks(low, high) == pytest.approx(ticks)


def points(chart, number=0):
    paths = [e for e in chart.iter("path") if e.get("class", "").startswith("line")]
    return [tuple(map(float, pair.split(","))) for pair in re.split("[ML]", paths[number].get("d"))[1:]]


def test_points_lie_where_their_values_are():
    chart = line_chart("t", [Series("a", [0, 0.5, 1], [0, 0.25, 1])], "x", "y", y_range=(0, 1), x_range=(0, 1))
    (x0, y0), (x1, y1), (x2, y2) = points(chart)
    assert x1 - x0 == pytest.approx((x2 - x0) / 2, abs=0.1)
    assert y0 - y1 == pytest.approx((y0 - y2) / 4, abs=0.1)
    assert 0 < x0 < x2 < WIDTH and 0 < y2 < y0 < HEIGHT


def test_a_logarithmic_axis_leaves_out_what_it_cannot_show():
    lines = [Series("a", [1, 2, 3, 4], [0.1, 0.0, 1, 10]), Series("b", [1, 2], [0, 0])]
    (x0, y0), (x1, y1), (_, y2) = points(line_chart("t", lines, "x", "y", log=True))
    assert y0 - y1 == pytest.approx(y1 - y2, abs=0.1)
    assert len(points(line_chart("t", lines, "x", "y", log=True))) == 3
    assert x0 < x1


@pytest.mark.parametrize("log", [False, True])
@pytest.mark.parametrize("value", [0.3, 1.0])
def test_one_point(log, value):
    chart = line_chart("t", [Series("a", [1], [value])], "epoch", "", log=log, whole=True)
    ((x, y),) = points(chart)
    assert 0 < x < WIDTH and 0 < y < HEIGHT
    assert len(list(chart.iter("circle"))) == 1
    assert "1" in [e.text for e in chart.iter("text")]


def test_lines_are_told_apart_by_more_than_colour_and_said_in_words():
    lines = [Series(name, [1, 2], [n + 1, n + 2]) for n, name in enumerate("abcd")]
    chart = line_chart("Losses", lines, "epoch", "")
    dashes = [e.get("stroke-dasharray") for e in chart.iter("path")]
    assert len(set(dashes)) == 4
    (picture,) = (e for e in chart.iter("svg") if e.get("role") == "img")
    assert picture.get("aria-label").startswith("Losses: lines over epoch 1 to 2. a from 1 to 2; b from 2 to 3")
    assert [e.find("svg") is not None for e in chart.iter("li")] == [True] * 4
    assert line_chart("t", lines[:1], "epoch", "").find("ul") is None, "no legend for one line"


def test_parts_of_a_bar():
    bar = stacked_bar([("a", "good", 1), ("b", "miss", 0), ("c", "swap", 3)], 8, "words")
    assert [e.get("style") for e in bar] == ["width:12.50%", "width:37.50%"]
    assert (bar.get("role"), bar.get("aria-label")) == ("img", "words")
    assert len(stacked_bar([("a", "good", 0)], 0, "none")) == 0
