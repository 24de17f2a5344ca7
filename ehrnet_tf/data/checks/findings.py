"""What a check has found: findings, each with its cases, in three levels."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any

LEVELS = ("error", "warning", "note")  # spoils training or figures; probably wrong; good to know


@dataclasses.dataclass(frozen=True)
class Case:
    """One place where something was found.

    Attributes:
      picture: "SPLIT/FILE"; empty where no picture is concerned.
      annotation: the annotation's id in the json, if one is concerned.
      detail: what is there, a few words.
    """

    picture: str
    annotation: Any = None
    detail: str = ""


@dataclasses.dataclass(frozen=True)
class Finding:
    """All cases of one fault.

    Attributes:
      level: one of `LEVELS`.
      check: the fault's short name, for programs ("missing").
      text: the fault in words.
      remedy: what to do, a few words.
      cases: where; at least one.
    """

    level: str
    check: str
    text: str
    remedy: str
    cases: tuple[Case, ...]

    def to_dict(self) -> dict[str, Any]:
        """The finding as plain values for JSON, with the number of cases as "count"."""
        return {**vars(self), "count": len(self.cases), "cases": [vars(case) for case in self.cases]}


class Findings(list[Finding]):
    """Findings in the order in which they were made."""

    def note(self, level: str, check: str, text: str, remedy: str, cases: Iterable[Case]) -> None:
        """Takes a finding in if it has any cases; those of another split join the earlier ones."""
        cases = tuple(cases)
        if not cases:
            return
        for index, earlier in enumerate(self):
            if earlier.check == check:
                self[index] = dataclasses.replace(earlier, cases=earlier.cases + cases)
                return
        self.append(Finding(level, check, text, remedy, cases))
