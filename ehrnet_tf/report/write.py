"""`ehrnet report`: gathers, draws, writes."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from ehrnet_tf.errors import UsageError
from ehrnet_tf.files import check_writable, write_text
from ehrnet_tf.report.gather import Options, gather
from ehrnet_tf.report.page import render


def write_report(
    run: str | os.PathLike, out: str | os.PathLike | None = None, options: Options | None = None
) -> dict[str, Any]:
    """Writes a run's report as one HTML file.

    With data, the folder ``evaluations`` in the run gets COCO results and figures of every file, and a later report of
    the same files and pictures takes them from there.

    Args:
      run: the folder of `ehrnet train`, `ehrnet quantize` or `ehrnet pretrain`, or a model file.
      out: the file; None: report.html in the run folder, or beside a model file, with its name.
      options: what to measure.

    Returns:
      The page's figures as plain values (`gather.Report.figures`), and "report": its path, "bytes": its size.

    Raises:
      UsageError, DataError, ModelFileError: as `gather.gather`; ``out`` does not end in .html.
    """
    run = Path(run)
    if out is None:
        alone = run.is_file() or (run / "saved_model.pb").is_file()
        out = run.with_name(f"{run.stem}.report.html") if alone else run / "report.html"
    out = Path(out)
    if out.suffix.lower() not in (".html", ".htm"):
        raise UsageError(f"{out}: the report is a web page; give --out a name that ends in .html")
    if out.parent.exists():
        check_writable(out)
    report = gather(run, options or Options())
    page = render(report)
    write_text(out, page)
    return {**report.figures(), "report": str(out), "bytes": len(page.encode("utf-8"))}
