"""How much each key may ask: a token bucket by the minute and a quota by the day, kept in the state.

Several servers share them, and a restart forgets nothing. A busy server does not write the state for each request: it takes
as many requests at once as a key made in its last second, and hands them out from memory. What it took is paid already, so
that a kill -9 makes a quota tighter by those few, never wider; an orderly end gives them back.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from bottega.core import BottegaError
from bottega.serve import tables
from bottega.serve.state import State

__all__ = ["Limited", "Limits"]

_MOST_LEASED = 32
_SUBJECTS = 10_000


class Limited(BottegaError):
    """A limit is reached.

    Args:
        what: which.
        seconds: after which asking makes sense again.
        code: ``rate_limit_exceeded`` or ``quota_exceeded``.
    """

    def __init__(self, what: str, seconds: float, code: str) -> None:
        self.seconds, self.code = seconds, code
        super().__init__(f"{what}; try again in {max(1, round(seconds))} seconds")


@dataclass
class _Lease:
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    left: int = 0
    day: str = ""
    asked: deque[float] = field(default_factory=lambda: deque(maxlen=_MOST_LEASED))
    refused: Limited | None = None
    until: float = 0.0


class Limits:
    """The limits of a server.

    Args:
        state: where counters are kept.
        per_minute: requests of a key that has no number of its own; also how many may come at once.
        per_day: requests, of a day of UTC; None: any number.
        clock: seconds since 1970.
    """

    def __init__(
        self, state: State, per_minute: int = 600, per_day: int | None = None, clock: Callable[[], float] = time.time
    ) -> None:
        self.state, self.per_minute, self.per_day, self.clock = state, per_minute, per_day, clock
        self._leases: OrderedDict[str, _Lease] = OrderedDict()

    async def take(
        self, subject: str, per_minute: int | None = None, per_day: int | None = None, cost: int = 1
    ) -> None:
        """Let a request of ``subject`` through, counted as ``cost``; raises Limited."""
        rate, quota = per_minute or self.per_minute, per_day or self.per_day
        lease = self._leases.get(subject)
        if lease is None:
            lease = self._leases[subject] = _Lease()
            if len(self._leases) > _SUBJECTS:
                old = next(
                    ((s, one) for s, one in self._leases.items() if not one.lock.locked() and one is not lease), None
                )
                if old is not None:
                    del self._leases[old[0]]
        else:
            self._leases.move_to_end(subject)
        async with lease.lock:
            now = self.clock()
            if lease.refused is not None and now < lease.until:
                raise Limited(str(lease.refused).rpartition(";")[0], lease.until - now, lease.refused.code)
            lease.refused = None
            if lease.day != _day(now):
                lease.left = 0
            if lease.left < cost:
                lately = sum(1 for t in lease.asked if now - 1.0 < t <= now)
                want = max(cost - lease.left, min(lately, _MOST_LEASED, rate))
                least = cost - lease.left
                try:
                    got = await asyncio.to_thread(self._lease, subject, least, want, rate, quota, now)
                except Limited as limited:
                    lease.refused, lease.until = limited, now + limited.seconds
                    raise
                lease.left += got
                lease.day = _day(now)
            lease.left -= cost
            lease.asked.append(now)

    async def close(self) -> None:
        """Give back what was taken and not handed out."""
        for subject, lease in self._leases.items():
            async with lease.lock:
                if lease.left and lease.day == _day(self.clock()):
                    await asyncio.to_thread(self._give_back, subject, lease.left)
                lease.left = 0

    def used_today(self, subject: str) -> int:
        """Requests that were counted today, with those that servers hold ready."""
        with self.state.reads.connect() as db:
            row = db.execute(sa.select(tables.usage).where(tables.usage.c.subject == subject)).first()
        return int(row.used) if row is not None and row.day == _day(self.clock()) else 0

    def _lease(self, subject: str, least: int, want: int, rate: int, quota: int | None, now: float) -> int:
        """Take up to ``want`` requests from the bucket and the quota, at least ``least``; returns how many. Raises Limited."""
        t, day, second = tables.usage, _day(now), rate / 60.0
        query = sa.select(t).where(t.c.subject == subject).with_for_update()
        with self.state.engine.begin() as db:
            row = db.execute(query).first()
            if row is None:
                try:
                    with db.begin_nested():
                        db.execute(t.insert().values(subject=subject, day=day, used=0, tokens=float(rate), at=now))
                except IntegrityError:
                    pass  # another server made it in this moment
                row = db.execute(query).first()
                assert row is not None
            used = row.used if row.day == day else 0
            tokens = min(float(rate), row.tokens + max(0.0, now - row.at) * second)
            if quota is not None and used + least > quota:
                raise Limited(f"the quota of {quota:,} requests a day is used up", _to_midnight(now), "quota_exceeded")
            if tokens < least:
                if least > rate:
                    raise Limited(f"one request that counts as {least} is more than the limit of {rate} a minute", 60.0, "rate_limit_exceeded")  # fmt: skip
                raise Limited(f"more than {rate:,} requests a minute", (least - tokens) / second, "rate_limit_exceeded")
            got = min(want, int(tokens + 1e-9), want if quota is None else quota - used)
            db.execute(
                t.update().where(t.c.subject == subject)
                .values(day=day, used=used + got, tokens=tokens - got, at=max(now, row.at))
            )  # fmt: skip
        return got

    def _give_back(self, subject: str, left: int) -> None:
        t = tables.usage
        with self.state.engine.begin() as db:
            db.execute(t.update().where(t.c.subject == subject).values(used=t.c.used - left, tokens=t.c.tokens + left))


def _day(now: float) -> str:
    return datetime.fromtimestamp(now, UTC).date().isoformat()


def _to_midnight(now: float) -> float:
    at = datetime.fromtimestamp(now, UTC)
    return (at.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1) - at).total_seconds()
