"""A report as one HTML document that needs nothing beside itself: style, charts and pictures are in it, no scripts."""

from __future__ import annotations

import datetime
import importlib.resources
from typing import Any

from ehrnet_tf import __version__
from ehrnet_tf.report import sections
from ehrnet_tf.report.gather import Report
from ehrnet_tf.report.html import Element, document, tag
from ehrnet_tf.report.run_folder import QUANTISATION

# Whoever opens the page: nothing is fetched, nothing is run.
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def render(report: Report, made: datetime.datetime | None = None) -> str:
    """The page.

    Args:
      report: what it shows.
      made: when; None: now.
    """
    made = made or datetime.datetime.now(datetime.timezone.utc)
    title = model_name(report)
    parts = [(name, heading, part) for name, heading, part in sections.all_of(report) if part]
    links = [tag("li", tag("a", heading, href=f"#{name}")) for name, heading, _ in parts]
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=_POLICY),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("title", f"{title}: {report.run.path.name}"),
        tag("link", rel="icon", href="data:,"),
        tag("style", style()),
    )
    body = tag(
        "body",
        tag(
            "header",
            tag("h1", title),
            tag("p", f"{report.run.kind}, ", tag("code", report.run.path), class_="soft"),
            cards(report),
            _notes(report),
            tag("nav", tag("ul", links), aria_label="Parts of this page") if len(links) > 1 else None,
        ),
        tag("main", [tag("section", tag("h2", heading), part, id=name) for name, heading, part in parts]),
        tag("footer", f"Written by ehrnet-tf {__version__} on {made:%Y-%m-%d %H:%M} UTC. The page is one file."),
    )
    return document(tag("html", head, body, lang="en"))


def style() -> str:
    """The page's style sheet."""
    return importlib.resources.files("ehrnet_tf.report").joinpath("style.css").read_text(encoding="utf-8")


def model_name(report: Report) -> str:
    """What the run's model is: variant, input, keypoints, precision, as far as known."""
    metadata, model = report.run.metadata, report.run.config.get("model", {})
    variant = metadata.get("variant") or model.get("variant") or report.run.path.name
    given = metadata.get("input") or {}
    side = given.get("nominal") or (given.get("height"), given.get("width"))
    side = side if all(side) else (model.get("input_size"),) * 2
    size = f"{side[1]}×{side[0]}" if all(side) else None
    points = metadata.get("keypoints")
    points = f"{len(points['keypoints'])} keypoints ({points['name']})" if points else None
    return ", ".join(filter(None, (str(variant), size, points, metadata.get("precision"))))


def cards(report: Report) -> Element | None:
    """The few numbers that come first."""
    found: list[tuple[Any, str]] = []
    if report.evaluations:
        figures = report.evaluations[0].figures
        found.append((sections.figure(figures["AP"]), f"AP, {figures['images']} pictures of {report.split}"))
        found.append((sections.figure(figures["AP50"]), "AP50, at an OKS of 0.50"))
    elif report.stored and report.stored[0] and "AP" in report.stored[0]:
        found.append((sections.figure(report.stored[0]["AP"]), "AP as stored in the file"))
    if report.speed:
        file = report.speed["files"][0]
        threads = f", {file['threads']} threads" if file["threads"] else ""
        found.append((f"{file['times']['total']['median']:.1f} ms", f"a picture, {file['runtime']}{threads}"))
    if report.megabytes:
        found.append((f"{report.megabytes[0]:.1f} MB", report.names[0]))
    done, planned = report.run.epochs
    if done:
        what = "epochs of fine-tuning" if report.run.kind == QUANTISATION else "epochs"
        found.append((f"{done} of {planned}" if planned else done, what))
    return tag("ul", [tag("li", tag("b", value), tag("span", text)) for value, text in found], class_="cards")


def _notes(report: Report) -> Element | None:
    done, planned = report.run.epochs
    notes = list(report.notes)
    if report.run.log and planned and done < planned:
        notes.insert(0, f"{done} of {planned} epochs are done: the run was stopped, or goes on.")
    if not notes:
        return None
    return tag("div", tag("ul", [tag("li", note) for note in notes]), class_="notes", role="note")
