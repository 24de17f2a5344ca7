"""The process in which one model file is timed: commands come as JSON lines on stdin, answers go to stdout.

The first line is {"model": path, "options": {...}} and is answered by `Subject.facts`; {"rounds": n} by {"times": [[s a
stage] ...]}; {"done": true} by `Subject.after`. An error of this package is answered by {"error": text, "status": n}.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any


def main() -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print must not get between the answers
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

    def answer(content: dict[str, Any]) -> None:
        answers.write(json.dumps(content) + "\n")
        answers.flush()

    from ehrnet_tf.benchmark.stages import Options, Subject
    from ehrnet_tf.errors import EhrnetError

    subject = None
    for line in sys.stdin:
        wanted = json.loads(line)
        try:
            if subject is None:
                subject = Subject(wanted["model"], Options(**wanted["options"]))
                answer(subject.facts)
            elif "rounds" in wanted:
                answer({"times": [subject.round() for _ in range(wanted["rounds"])]})
            else:
                answer(subject.after())
        except EhrnetError as error:
            answer({"error": str(error), "status": error.exit_status})
            return


if __name__ == "__main__":
    main()
