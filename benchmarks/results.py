"""What was measured, and how it is told: medians, with the least and the greatest value in brackets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True)
class Goal:
    """A bound that a figure is to keep."""

    bound: float
    at_least: bool = False

    def met(self, value: float) -> bool:
        """Tell whether a value keeps it."""
        return value >= self.bound if self.at_least else value <= self.bound

    def __str__(self) -> str:
        return f"at {'least' if self.at_least else 'most'} {self.bound:.3g}"


@dataclass(frozen=True)
class Row:
    """
    One row of the table.

    :param what: what was measured.
    :param ours: every value, in ``unit``.
    :param against: what it is compared with; empty where it is held against an absolute goal.
    :param theirs: every value of that, measured in turn with ours.
    :param goal: for the ratio of the medians, ours to theirs; for our median itself where there is no other.
    """

    what: str
    unit: str
    ours: Sequence[float]
    against: str = ""
    theirs: Sequence[float] = ()
    goal: Goal | None = None

    @property
    def judged(self) -> float:
        """The value that the goal is about."""
        return median(self.ours) / median(self.theirs) if self.theirs else median(self.ours)

    def __str__(self) -> str:
        cells = [self.what, f"{told(self.ours)} {self.unit}"]
        if self.theirs:
            cells += [f"{self.against}: {told(self.theirs)} {self.unit}", f"**{self.judged:.2f}**"]
        else:
            cells += ["", ""]
        if self.goal is None:
            cells += ["", ""]
        else:
            cells += [str(self.goal), "yes" if self.goal.met(self.judged) else "**no**"]
        return f"| {' | '.join(cells)} |"


HEAD = "| what | ours | against | ratio | goal | met |\n|---|---|---|---|---|---|"


def told(values: Sequence[float]) -> str:
    """Return the median, and the spread where there is one."""
    middle = f"{median(values):.3g}"
    return middle if len(values) == 1 else f"{middle} ({min(values):.3g} to {max(values):.3g})"
