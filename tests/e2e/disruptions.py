"""Pure: which tries of which runs are disrupted, how, and when; a seed makes the same plans again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from itertools import count
from random import Random

FIRST_LOGICAL_DATE = datetime(2025, 6, 1, tzinfo=UTC)


class Kind(StrEnum):
    """What happens to a try."""

    KILLED = "the task's process is killed"
    STOPPED = "the task is stopped (SIGTERM, then SIGKILL)"
    MACHINE_LOST = "the task's machine is lost"
    SUSPENDED = "the task's machine is suspended until the next try has begun"
    TIMED_OUT = "execution_timeout expires"
    CLOSED = "the response is lost (connection closed)"
    RESET = "the response is lost (connection reset)"


class Moment(StrEnum):
    """When it happens: a random time after the first, or while the second is expected by the client."""

    BEGIN = "after the try has begun"
    LIST = "after the response to the list of orders"
    REQUEST = "while the export is requested"
    RESPONSE = "after the response to the request"
    POLL = "while the export is polled, so after its UUID is saved"
    RESULT = "after the response to the poll"


LOST_RESPONSES = frozenset({Kind.CLOSED, Kind.RESET})
LATEST_PAUSES = (0.3, 5.0)
"""The next try is under way, or has ended: upper bounds of the random time, in seconds."""
LATEST = {
    Moment.BEGIN: 0.2,
    Moment.LIST: 0.06,
    Moment.REQUEST: 0.3,
    Moment.RESPONSE: 0.05,
    Moment.POLL: 0.1,
    Moment.RESULT: 0.1,
}
"""Upper bound of the random time, in seconds."""

_WHILE_REQUESTING = (Moment.LIST, Moment.REQUEST, Moment.RESPONSE)
_CASES = [
    *((Kind.MACHINE_LOST, moment) for moment in (*_WHILE_REQUESTING, Moment.POLL)),
    *((Kind.SUSPENDED, moment) for moment in (Moment.BEGIN, *_WHILE_REQUESTING, Moment.POLL)),
    *((Kind.TIMED_OUT, moment) for moment in (*_WHILE_REQUESTING, Moment.POLL)),
    *((kind, moment) for kind in (Kind.KILLED, Kind.STOPPED) for moment in Moment),
    *((kind, Moment.REQUEST) for kind in (Kind.CLOSED, Kind.RESET)),
]
_SLOW = frozenset({Kind.MACHINE_LOST, Kind.SUSPENDED})
"""The scheduler notices them after the heartbeat timeout. A run has at most one of them."""
# A retry that finds an unclear request sends nothing, so only its begin can be seen.
_SECOND_TRY = [(kind, Moment.BEGIN) for kind in (Kind.KILLED, Kind.KILLED, Kind.STOPPED, Kind.MACHINE_LOST)]


@dataclass(frozen=True)
class Disruption:
    """
    One disruption of a try.

    :param kind: what happens.
    :param moment: when.
    :param delay: how many seconds later.
    :param pause: how many seconds after the next try has begun a suspended one continues.
    """

    kind: Kind
    moment: Moment
    delay: float
    pause: float = 0.0

    def __str__(self) -> str:
        continues = f", and continues {1000 * self.pause:.0f} ms after it" if self.kind is Kind.SUSPENDED else ""
        return f"{self.kind}, {1000 * self.delay:.0f} ms {self.moment}{continues}"


@dataclass
class Plan:
    """
    What happens to the tries of one run.

    :param policy: the operator's `on_ambiguous`.
    :param shape: which of the DAGs, see `dags_disrupted`.
    :param logical_date: identifies the run.
    :param disruptions: at most one for each try, the first try first.
    """

    policy: str
    shape: str
    logical_date: datetime
    disruptions: list[Disruption] = field(default_factory=list)

    @property
    def dag_id(self) -> str:
        return f"disrupted_{self.policy}_{self.shape}"

    def __str__(self) -> str:
        tries = "; ".join(f"try {number}: {disruption}" for number, disruption in enumerate(self.disruptions, 1))
        return f"{self.dag_id} {self.logical_date:%Y-%m-%dT%H:%M} ({tries})"


def make_plans(random: Random, policy: str, tries: int, first: datetime, *, again: float = 0.0) -> list[Plan]:
    """
    Plan as many disrupted tries, with as many of each case as of any other. The slow ones come first.

    :param again: in which part of the runs the second try is disrupted as well.
    """
    dates = (first + timedelta(minutes=number) for number in count())
    plans: list[Plan] = []
    for kind, moment in _cases(random):
        if sum(len(plan.disruptions) for plan in plans) >= tries:
            break
        plan = Plan(policy, _shape(random, kind, moment), next(dates), [_disruption(random, kind, moment)])
        if moment in _WHILE_REQUESTING and random.random() < again:
            plan.disruptions.append(_disruption(random, *random.choice(_SECOND_TRY[: 3 if kind in _SLOW else 4])))
        plans.append(plan)
    return sorted(plans, key=lambda plan: plan.disruptions[0].kind not in _SLOW)


def _cases(random: Random) -> Iterator[tuple[Kind, Moment]]:
    yield Kind.KILLED, Moment.REQUEST  # even the shortest selection has a run that fails
    while True:
        yield from random.sample(_CASES, len(_CASES))


def _disruption(random: Random, kind: Kind, moment: Moment) -> Disruption:
    pause = random.uniform(0, random.choice(LATEST_PAUSES)) if kind is Kind.SUSPENDED else 0.0
    return Disruption(kind, moment, round(random.uniform(0, LATEST[moment]), 3), round(pause, 3))


def _shape(random: Random, kind: Kind, moment: Moment) -> str:
    if kind is Kind.TIMED_OUT:
        return "timed"
    if moment in {Moment.LIST, Moment.POLL, Moment.RESULT}:
        return "watched"
    return random.choice(["plain", "watched"])
