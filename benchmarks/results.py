"""Formats what the benchmarks measured: one row per comparison, as medians with minimum and maximum in brackets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from statistics import median


@dataclass(frozen=True)
class Goal:
    """
    A bound for a result.

    :param bound: the bound.
    :param minimum: whether the result must be at least the bound; by default it must be at most the bound.
    """

    bound: float | Fraction
    minimum: bool = False

    def is_met(self, value: float) -> bool:
        """Return whether a value meets the goal."""
        return value >= self.bound if self.minimum else value <= self.bound

    def __str__(self) -> str:
        return f"at {'least' if self.minimum else 'most'} {self.bound}"


@dataclass(frozen=True)
class Row:
    """
    One row of the table.

    :param what: what was measured.
    :param unit: the unit of all values.
    :param ours: the values of this provider.
    :param alternative: what it is compared with; empty if there is only an absolute goal.
    :param theirs: the values of the alternative, measured in turn with ours.
    :param goal: for the ratio of the medians, ours to theirs; without an alternative, for our median.
    """

    what: str
    unit: str
    ours: Sequence[float]
    alternative: str = ""
    theirs: Sequence[float] = ()
    goal: Goal | None = None

    @property
    def value(self) -> float:
        """The ratio of the medians; without an alternative, our median."""
        return median(self.ours) / median(self.theirs) if self.theirs else median(self.ours)

    def __str__(self) -> str:
        cells = [self.what, with_unit(summary(self.ours), self.unit)]
        if self.theirs:
            cells += [f"{self.alternative}: {with_unit(summary(self.theirs), self.unit)}", f"**{self.value:.2f}**"]
        else:
            cells += ["", ""]
        return f"| {' | '.join(cells)} |"

    def goal_row(self, goal: Goal) -> str:
        """Return the row of the table of goals."""
        unit = "" if self.theirs else self.unit
        value = f"{self.value:.2f}" if self.theirs else f"{self.value:.3g}"
        cells = [
            self.what.removesuffix(" (quartiles)"),
            *([self.alternative] if self.alternative else []),
            with_unit(str(goal), unit),
            with_unit(value, unit),
            "yes" if goal.is_met(self.value) else "**no**",
        ]
        separator = " | " if self.alternative else " | | "
        return f"| {cells[0]}{separator}{' | '.join(cells[1:])} |"


HEADER = "| what | this provider | compared with | ratio |\n|---|---|---|---|"
GOALS_HEADER = "| what | compared with | goal | result | met |\n|---|---|---|---|---|"


def summary(values: Sequence[float]) -> str:
    """Return the median, and minimum and maximum if there are several values."""
    middle = f"{median(values):.3g}"
    return middle if len(values) == 1 else f"{middle} ({min(values):.3g} to {max(values):.3g})"


def with_unit(text: str, unit: str) -> str:
    """Append a unit, if there is one."""
    return f"{text} {unit}".rstrip()
