"""Lock-out after failures, longer each time: whom nobody can try to guess keys or codes against for long."""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Callable
from contextlib import suppress

import sqlalchemy as sa

from bottega.serve import tables
from bottega.serve.state import State

__all__ = ["Lockout", "address_of"]

FREE = 5  # failures before the first lock
_FIRST, _MOST = 2.0, 900.0  # seconds; doubled by each further failure
_FORGET = 3600.0  # seconds without a failure after which all is forgotten


def address_of(host: str) -> str:
    """Whom failures are counted against: an IPv4 address; of IPv6 the network /64, which one customer owns whole.

    >>> address_of("10.1.2.3"), address_of("2001:db8::1:2:3"), address_of("::ffff:10.1.2.3")
    ('address:10.1.2.3', 'address:2001:db8::/64', 'address:10.1.2.3')
    """
    with suppress(ValueError):
        found = ipaddress.ip_address(host)
        if isinstance(found, ipaddress.IPv6Address):
            if found.ipv4_mapped is not None:
                return f"address:{found.ipv4_mapped}"
            return f"address:{ipaddress.ip_network((int(found) >> 64 << 64, 64))}"
    return f"address:{host}"


class Lockout:
    """Counts failures by subject (an address, a user's second factor); survives a restart.

    Args:
        state: where.
        clock: seconds since 1970.
    """

    def __init__(self, state: State, clock: Callable[[], float] = time.time) -> None:
        self.state, self.clock = state, clock

    def left(self, subject: str) -> float:
        """Seconds for which a subject is locked out still; 0 when it is not."""
        with self.state.reads.connect() as db:
            until = db.scalar(sa.select(tables.failures.c.until).where(tables.failures.c.subject == subject))
        return max(0.0, (until or 0.0) - self.clock())

    def failed(self, subject: str) -> float:
        """Count a failure; returns the seconds of the lock that follows from it, 0 for none yet."""
        now, t = self.clock(), tables.failures
        with self.state.engine.begin() as db:
            db.execute(t.delete().where(t.c.at < now - _FORGET, t.c.until < now))
            row = db.execute(sa.select(t.c.count).where(t.c.subject == subject).with_for_update()).first()
            count = 1 + (row.count if row is not None else 0)  # type: ignore[operator]
            lock = 0.0 if count < FREE else min(_MOST, _FIRST * 2.0 ** min(count - FREE, 30))
            new = {"count": count, "at": now, "until": now + lock}
            if row is None:
                with (
                    suppress(sa.exc.IntegrityError),
                    db.begin_nested(),
                ):  # another server counted the first one just now
                    db.execute(t.insert().values(subject=subject, **new))
                    return lock
            db.execute(t.update().where(t.c.subject == subject).values(**new))
        return lock

    def passed(self, subject: str) -> None:
        """Forget the failures of a subject."""
        with self.state.engine.begin() as db:
            db.execute(tables.failures.delete().where(tables.failures.c.subject == subject))
