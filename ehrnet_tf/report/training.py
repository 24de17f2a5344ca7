"""The part of a report's page that shows how a run went: curves, and a few epochs in numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ehrnet_tf.report.charts import Series, line_chart
from ehrnet_tf.report.html import tag
from ehrnet_tf.report.run_folder import Run
from ehrnet_tf.report.tables import table

_ROWS = 12  # epochs that are listed
_FIRST = ("loss", "val_loss", "AP", "AP50", "accuracy", "val_accuracy")
_LAST = ("learning_rate", "seconds")


def training(run: Run) -> list[Any]:
    """The run's curves, and up to twelve of its epochs; empty where no epoch has ended."""
    if not run.log:
        return []
    charts = []
    for title, columns in run.curves.items():
        lines = [line for line in (_series(run.log, column) for column in columns) if line]
        if lines:
            shares = title in ("Validation", "Accuracy")
            chart = line_chart(
                title, lines, "epoch", "", log=title == "Losses", y_range=(0.0, 1.0) if shares else None, whole=True
            )
            charts.append(chart)
    said = []
    best = run.best_epoch
    if best:
        said.append(f"Best validation AP {best['AP']:.3f} in epoch {best['epoch'] + 1:.0f}.")
    hours = sum(row.get("seconds", 0.0) for row in run.log if math.isfinite(row.get("seconds", 0.0))) / 3600
    if hours:
        said.append(f"{hours:.2f} hours in all." if hours >= 1 else f"{hours * 60:.1f} minutes in all.")
    return [tag("p", " ".join(said)) if said else None, tag("div", charts, class_="grid2"), _table(run, best)]


def _series(rows: Sequence[dict[str, float]], column: str) -> Series | None:
    points = [(row["epoch"] + 1, row[column]) for row in rows if math.isfinite(row.get(column, math.nan))]
    return Series(column, *zip(*points, strict=True)) if points else None


def _table(run: Run, best: dict[str, float] | None) -> list[Any]:
    columns = [name for name in run.log[0] if name not in (*_FIRST, *_LAST, "epoch")]
    present = [
        name for name in (*_FIRST, *columns, *_LAST) if any(math.isfinite(row.get(name, math.nan)) for row in run.log)
    ]
    spread = {round(n * (len(run.log) - 1) / max(1, _ROWS - 1)) for n in range(_ROWS)}
    chosen = [row for n, row in enumerate(run.log) if n in spread or row is best]
    head = [name.replace("_", " ") for name in ("epoch", *present)]
    body = [[f"{row['epoch'] + 1:.0f}", *(_number(row.get(name)) for name in present)] for row in chosen]
    few = f"{len(chosen)} of {len(run.log)} epochs; all are in log.csv." if len(chosen) < len(run.log) else None
    return [tag("p", few, class_="soft") if few else None, table("Figures by epoch", head, body)]


def _number(value: float | None) -> str:
    return f"{value:#.4g}" if value is not None and math.isfinite(value) else "–"
