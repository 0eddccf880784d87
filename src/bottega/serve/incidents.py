"""Incidents: what went wrong with something that was served, what came of it, and to which weights, data and seed it leads."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

import sqlalchemy as sa

from bottega.core import BottegaError
from bottega.core.errors import nearest
from bottega.serve import tables
from bottega.serve.state import State
from bottega.serve.users import Missing

__all__ = ["Incident", "Incidents", "Severity", "Status", "Step"]

Severity = Literal["low", "medium", "high", "critical"]
Status = Literal["open", "investigating", "fixed", "accepted"]
CLOSED: tuple[Status, ...] = ("fixed", "accepted")  # accepted: it is known, and stays


@dataclass(frozen=True)
class Step:
    """What was done about an incident, by whom, and how it stood then."""

    at: float
    by: str
    status: Status
    note: str


@dataclass(frozen=True)
class Incident:
    """One incident.

    Attributes:
        id: short.
        opened: seconds since 1970.
        by: who told of it.
        title, what: in words.
        severity, status: how bad, and how it stands.
        piece: where it came from: model_sha256, data_sha256, recipe, seed, caller, request ...
        steps: oldest first.
    """

    id: str
    opened: float
    by: str
    title: str
    what: str
    severity: Severity
    status: Status
    piece: dict[str, Any]
    steps: list[Step]


class Incidents:
    """The incidents of a state.

    Args:
        state: where they are kept.
        clock: seconds since 1970.
    """

    def __init__(self, state: State, clock: Callable[[], float] = time.time) -> None:
        self.state, self.clock = state, clock

    def open(
        self, title: str, what: str = "", *, by: str, severity: str = "medium", piece: Mapping[str, Any] | None = None
    ) -> Incident:
        """A new incident; raises BottegaError for one without a title or of a severity that is none."""
        if not title.strip():
            raise BottegaError("an incident has a title; say in a few words what went wrong")
        if severity not in get_args(Severity):
            raise BottegaError(f"severity is {severity[:40]!r}{nearest(severity, get_args(Severity))}")
        id_ = f"inc-{uuid.uuid4().hex[:10]}"
        row = {"id": id_, "opened": self.clock(), "by": by, "title": title.strip()[:200], "what": what[:10_000],
               "severity": severity, "status": "open", "piece": json.dumps(dict(piece or {}))}  # fmt: skip
        with self.state.engine.begin() as db:
            db.execute(tables.incidents.insert().values(**row))
        return self.get(id_)

    def step(self, id_: str, *, by: str, status: str, note: str = "") -> Incident:
        """Put down what was done; an incident is closed with a note of how. Raises BottegaError."""
        if status not in get_args(Status):
            raise BottegaError(f"status is {status[:40]!r}{nearest(status, get_args(Status))}")
        if status in CLOSED and not note.strip():
            raise BottegaError(f"an incident that is {status} says how; give a note")
        self.get(id_)
        with self.state.engine.begin() as db:
            db.execute(tables.incidents.update().where(tables.incidents.c.id == id_).values(status=status))
            db.execute(tables.incident_steps.insert().values(
                id=uuid.uuid4().hex, incident=id_, at=self.clock(), by=by, status=status, note=note[:10_000]))  # fmt: skip
        return self.get(id_)

    def get(self, id_: str) -> Incident:
        """One; raises BottegaError when there is none."""
        found = self.list(id_=id_)
        if not found:
            raise Missing(f"there is no incident {id_[:40]!r}; bottega log incidents lists them")
        return found[0]

    def list(self, *, status: str | None = None, id_: str | None = None) -> list[Incident]:
        """All, newest first, or those of a status."""
        i, s = tables.incidents, tables.incident_steps
        query = sa.select(i).order_by(i.c.opened.desc())
        query = query if status is None else query.where(i.c.status == status)
        query = query if id_ is None else query.where(i.c.id == id_)
        with self.state.reads.connect() as db:
            rows = db.execute(query).all()
            steps: dict[str, list[Step]] = {row.id: [] for row in rows}
            for step in db.execute(sa.select(s).where(s.c.incident.in_(list(steps))).order_by(s.c.at)):
                steps[step.incident].append(Step(step.at, step.by, step.status, step.note))
        return [
            Incident(r.id, r.opened, r.by, r.title, r.what, r.severity, r.status, json.loads(r.piece), steps[r.id]) for r in rows
        ]  # fmt: skip

    def open_ones(self) -> int:
        """How many are not closed."""
        with self.state.reads.connect() as db:
            return db.scalar(sa.select(sa.func.count()).select_from(tables.incidents).where(tables.incidents.c.status.not_in(CLOSED))) or 0  # fmt: skip
