"""The parts of a report's page, each a list of elements; empty where there is nothing to show."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Any

from ehrnet_tf.evaluation.breakdown import GOOD, KINDS, NEAR
from ehrnet_tf.evaluation.coco_ap import FIGURES
from ehrnet_tf.report.charts import Series, line_chart, stacked_bar
from ehrnet_tf.report.gather import Report
from ehrnet_tf.report.html import Element, tag
from ehrnet_tf.report.pictures import SHOWN, Picture
from ehrnet_tf.report.tables import figure, plain, table
from ehrnet_tf.report.training import training

_STAGES = {"prepare": "resize", "network": "network", "decode": "decode"}


def all_of(report: Report) -> list[tuple[str, str, list[Any]]]:
    """(id, heading, elements) of every part of the page, in order."""
    return [
        ("accuracy", "Accuracy", accuracy(report)),
        ("keypoints", "By keypoint and size", keypoints(report)),
        ("best", "Best pictures", _pictures(report.best, BEST)),
        ("worst", "Worst pictures", _pictures(report.worst, WORST)),
        ("speed", "Speed", speed(report)),
        ("training", "Training", training(report.run)),
        ("configuration", "Configuration", configuration(report)),
        ("origin", "Origin", origin(report)),
    ]


BEST = (
    "Left what is labelled, right what the model finds. The highest mean OKS over the labelled people, of pictures "
    "with at least as many labelled keypoints as the median one."
)
WORST = (
    "Left what is labelled, right what the model finds; a box marks the person meant. People not found, people whose "
    "joints went to somebody else, and people whose joints lie beside their places take turns, the worst first."
)


def accuracy(report: Report) -> list[Any]:
    if not report.evaluations:
        return [*_stored(report), *_held_back(report)]
    protocols = {e.figures["protocol"] for e in report.evaluations}
    one = len(protocols) == 1
    rows = [
        [
            tag("code", name),
            e.figures["precision"],
            *(figure(e.figures[key]) for key in FIGURES),
            *([] if one else [e.figures["protocol"]]),
        ]
        for name, e in zip(report.names, report.evaluations, strict=True)
    ]
    head = ["file", "precision", *FIGURES, *([] if one else ["protocol"])]
    said = f": {next(iter(protocols))}" if one else ""
    images = report.evaluations[0].figures["images"]
    caption = ["COCO keypoint figures on ", tag("code", report.data), f", {images} pictures of {report.split}{said}."]
    figures = table("COCO keypoint figures", head, rows, (0, 1) if one else (0, 1, len(head) - 1))
    return [tag("p", caption, class_="soft"), figures, *_held_back(report), *_precision_recall(report)]


def _stored(report: Report) -> list[Any]:
    keys = ("AP", "AP50", "split", "pictures", "data", "protocol")
    rows = []
    for name, stored in zip(report.names, report.stored, strict=True):
        if stored:
            values = [figure(v) if isinstance(v := stored.get(k, "–"), float) else plain(v) for k in keys]
            rows.append([tag("code", name), *values])
    if not rows:
        return []
    said = tag("p", "As stored in the files when they were scored.", class_="soft")
    return [said, table("Accuracy stored in the files", ["file", *keys], rows, (0, 3, 5, 6))]


def _held_back(report: Report) -> list[Element]:
    row = report.run.best_epoch
    if not row or not {"AP_true_groups", "AP_true_heatmaps"} <= row.keys():
        return []
    groups, heatmaps = row["AP_true_groups"], row["AP_true_heatmaps"]
    culprit = "heat-maps hold" if heatmaps >= groups else "tags hold"
    text = (
        f"What holds it back, by the validation of epoch {row['epoch'] + 1:.0f} (AP {row['AP']:.3f}): with true "
        f"grouping AP would be {groups:.3f}, with true heat-maps {heatmaps:.3f}: the {culprit} it back."
    )
    return [tag("p", text)]


def _precision_recall(report: Report) -> list[Element]:
    curves = [e.figures["precision_recall"] for e in report.evaluations]
    if not curves[0]["recall"]:
        return [tag("p", "Nobody is labelled in these pictures: there is no precision and recall.", class_="soft")]
    first = report.evaluations[0].figures
    averages = {"OKS 0.50": first["AP50"], "OKS 0.75": first["AP75"], "mean": first["AP"]}
    lines = [
        _curve(f"{name} ({'0.50 to 0.95, ' if name == 'mean' else ''}AP {ap:.3f})", curves[0], name)
        for name, ap in averages.items()
    ]
    unit = (0.0, 1.0)
    charts = [
        line_chart(
            f"Precision over recall: {report.names[0]}", lines, "recall", "precision", y_range=unit, x_range=unit
        )
    ]
    if len(curves) > 1:
        files = [
            _curve(f"{name} (AP {e.figures['AP']:.3f})", curve, "mean")
            for name, e, curve in zip(report.names, report.evaluations, curves, strict=True)
        ]
        title = "Files compared, mean over OKS 0.50 to 0.95"
        charts.append(line_chart(title, files, "recall", "precision", y_range=unit, x_range=unit))
    return [tag("div", charts, class_="grid2")]


def _curve(title: str, curves: Mapping[str, Sequence[float]], name: str) -> Series:
    """A curve as far as the recall at which nothing is left of it."""
    end = next((n + 1 for n, precision in enumerate(curves[name]) if not precision), len(curves[name]))
    return Series(title, curves["recall"][:end], curves[name][:end])


def keypoints(report: Report) -> list[Any]:
    if not report.evaluations:
        return []
    figures = report.evaluations[0].figures
    rows = figures["keypoints"].items()
    ap = [[_spoken(name), _ap_bar(name, row["AP"]), figure(row["AP"])] for name, row in rows]
    fate = [[_spoken(name), _fate_bar(name, row), f"{row['good']:.0%}"] for name, row in rows]
    sizes = [
        [name, _ap_bar(name, row["AP"]), figure(row["AP"]), figure(row["AR"]), row["people"]]
        for name, row in figures["sizes"].items()
    ]
    head = ["keypoint", "labelled", *KINDS, *(f"AP {name}" for name in report.names)]
    numbers = [
        [
            _spoken(name),
            row["labelled"],
            *(f"{row[kind]:.1%}" for kind in KINDS),
            *(figure(e.figures["keypoints"][name]["AP"]) for e in report.evaluations),
        ]
        for name, row in rows
    ]
    explained = (
        f"Good: a similarity (the keypoint's term in OKS) of at least {GOOD}; jitter: of at least {NEAR}; inversion: "
        "at another keypoint of the same person; swap: at the same keypoint of somebody else; miss: nowhere near, "
        "or not found."
    )
    return [
        tag(
            "div",
            tag(
                "div",
                tag("h3", "AP of each keypoint by itself"),
                table("AP by keypoint", ["keypoint", "", "AP"], ap, kind="bars"),
            ),
            tag(
                "div",
                tag("h3", "Where labelled keypoints are found"),
                table("Where keypoints are found", ["keypoint", "", "good"], fate, kind="bars"),
                _key(),
            ),
            class_="grid2",
        ),
        tag("p", explained, class_="soft"),
        tag("h3", "By the size of people"),
        tag("p", "The side of a square as large as the person.", class_="soft"),
        table("AP by size", ["side", "", "AP", "AR", "people"], sizes, kind="bars"),
        tag("h3", "The same in numbers"),
        table("Keypoints in numbers", head, numbers),
    ]


def _spoken(name: str) -> str:
    return name.replace("_", " ")


def _ap_bar(name: str, ap: float) -> Element:
    return stacked_bar([("AP", "plain", max(0.0, ap))], 1, f"{_spoken(name)}: AP {figure(ap)}")


def _fate_bar(name: str, row: Mapping[str, float]) -> Element:
    words = ", ".join(f"{kind} {row[kind]:.0%}" for kind in KINDS)
    return stacked_bar([(kind, kind, row[kind]) for kind in KINDS], 1, f"{_spoken(name)}: {words}")


def _key(names: Mapping[str, str] | None = None) -> Element:
    names = names or {kind: kind for kind in KINDS}
    return tag("ul", [tag("li", tag("i", class_=kind), name) for kind, name in names.items()], class_="legend")


def _pictures(shown: Sequence[Picture], text: str) -> list[Element]:
    if not shown:
        return []
    drawn = f" People scored below {SHOWN} are not drawn."
    return [tag("p", text + drawn, class_="soft"), tag("div", [_pair(picture) for picture in shown], class_="pictures")]


def _pair(picture: Picture) -> Element:
    images = []
    for what, content, people in zip(
        ("labelled", "found"), (picture.labelled, picture.found), picture.people, strict=True
    ):
        source = "data:image/jpeg;base64," + base64.b64encode(content).decode()
        height, width = picture.size
        alt = f"{picture.title}: {people} {'person' if people == 1 else 'people'} {what}"
        images.append(tag("img", src=source, width=width, height=height, alt=alt))
    return tag(
        "figure", tag("div", images), tag("figcaption", tag("b", picture.title), f"; {picture.text}"), class_="pair"
    )


def speed(report: Report) -> list[Any]:
    if not report.speed:
        return []
    files = report.speed["files"]
    slowest = max(file["times"]["total"]["median"] for file in files)
    bars, rows = [], []
    for name, file, megabytes in zip(report.names, files, report.megabytes, strict=True):
        times = {stage: file["times"][stage]["median"] for stage in _STAGES}
        total, words = file["times"]["total"], ", ".join(f"{_STAGES[s]} {ms:.1f} ms" for s, ms in times.items())
        bar = stacked_bar(
            [(_STAGES[s], s, ms) for s, ms in times.items()], max(slowest, sum(times.values())), f"{name}: {words}"
        )
        bars.append([tag("code", name), bar, f"{total['median']:.1f} ms"])
        memory = file["peak_memory_mib"]
        rows.append(
            [
                tag("code", name),
                _runtime(file),
                file["precision"],
                file["threads"] or "–",
                *(f"{ms:.2f}" for ms in times.values()),
                f"{total['median']:.2f}",
                f"{total['p95']:.2f}",
                f"{file['pictures_per_second']:.1f}",
                "–" if memory is None else f"{memory:.0f}",
                f"{megabytes:.1f}",
            ]
        )
    pictures = report.speed["pictures"]
    what = f"{pictures} pictures of {report.split} in turn" if pictures else "a made-up picture of 640×480"
    caption = (
        f"Milliseconds a picture, medians of {report.speed['rounds']} rounds on {what}, each file in a process of its "
        "own; total from the array of pixels to people, with the live decoder, without reading the file."
    )
    head = [
        "file",
        "runtime",
        "precision",
        "threads",
        *_STAGES.values(),
        "total",
        "p95",
        "pictures/s",
        "peak MiB",
        "MB",
    ]
    machine = "; ".join(f"{key} {value}" for key, value in report.speed["machine"].items())
    throttled = report.speed["conditions"]["throttled"]
    warning = f" It was throttled meanwhile: {', '.join(throttled)}." if throttled else ""
    return [
        table("Time a picture", ["file", "", "total"], bars, kind="bars"),
        _key(_STAGES),
        tag("p", caption, class_="soft"),
        table("Speed", head, rows, (0, 1, 2)),
        tag("p", f"Machine: {machine}.{warning}", class_="soft"),
    ]


def _runtime(file: Mapping[str, Any]) -> str:
    return f"{file['runtime']} ({', '.join(f'{name} {version}' for name, version in file['versions'].items())})"


def configuration(report: Report) -> list[Any]:
    config, changed = report.run.config, report.run.changed
    if not config:
        return []
    parts = []
    unseen = tag("span", " (changed)", class_="unseen")
    for section, values in config.items():
        rows = [
            tag(
                "tr",
                tag("th", key, scope="row"),
                tag("td", plain(value), unseen if f"{section}.{key}" in changed else None),
                class_="changed" if f"{section}.{key}" in changed else None,
            )
            for key, value in values.items()
        ]
        parts.append(tag("section", tag("h3", section), tag("table", tag("tbody", rows))))
    said = tag("p", "Bold: not the default.", class_="soft") if changed else None
    return [said, tag("div", parts, class_="config")]


def origin(report: Report) -> list[Any]:
    run, rows = report.run, []
    for start in run.description.get("starts", []):
        rows.append(("started", f"{start.get('started')}, {start.get('backend')}, {start.get('machine')}"))
        rows.append(("command", tag("code", start.get("command"))))
        rows.append(("versions", plain(start.get("versions"))))
    for key in ("seed", "steps_per_epoch", "data"):
        if key in run.description:
            rows.append((key.replace("_", " "), plain(_counted(run.description[key]))))
    for key, value in run.metadata.items():
        if key not in ("keypoints", "strides", "versions" if run.description else None):
            rows.append((f"file: {key}", plain(value)))
    return [tag("dl", [[tag("dt", name), tag("dd", value)] for name, value in rows])] if rows else []


def _counted(value: Any) -> Any:
    """Run descriptions name every skipped picture; here their number is enough."""
    if isinstance(value, Mapping):
        return {k: len(v) if k == "skipped" and isinstance(v, Mapping) else _counted(v) for k, v in value.items()}
    return value
