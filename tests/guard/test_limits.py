"""Rates and quotas: exact under concurrency, shared by servers, kept over restarts."""

from __future__ import annotations

import asyncio

import pytest

from bottega.serve.limits import Limited, Limits
from bottega.serve.state import open_state


@pytest.fixture(scope="module")
def run():
    """One event loop, as a server has one."""
    loop = asyncio.new_event_loop()
    yield loop.run_until_complete
    loop.close()


async def _count(limits, n, subject="k", **more):
    """How many of n requests at once come through."""

    async def one():
        try:
            await limits.take(subject, **more)
        except Limited:
            return 0
        return 1

    return sum(await asyncio.gather(*(one() for _ in range(n))))


def test_a_bucket_empties_and_fills(run, state, clock):
    limits = Limits(state, per_minute=60, clock=clock)
    assert run(_count(limits, 100)) == 60
    with pytest.raises(Limited, match="more than 60 requests a minute; try again in 1 seconds") as limited:
        run(limits.take("k"))
    assert limited.value.seconds == pytest.approx(1.0)
    clock.now += 10
    assert run(_count(limits, 100)) == 10
    clock.now += 3600
    assert run(_count(limits, 100)) == 60  # no more than a minute's worth is saved


def test_a_quota_ends_with_the_day_of_utc(run, state, clock):
    clock.now = 1_800_000_000 // 86_400 * 86_400 + 86_000.0
    limits = Limits(state, per_minute=1000, per_day=50, clock=clock)
    assert run(_count(limits, 80)) == 50
    with pytest.raises(Limited) as limited:
        run(limits.take("k"))
    assert (limited.value.code, limited.value.seconds) == ("quota_exceeded", 400.0)
    assert limits.used_today("k") == 50
    clock.now += 400
    assert run(_count(limits, 80)) == 50


def test_two_servers_hand_out_no_more_than_one(run, state, clock, tmp_path):
    """At each moment of a busy hour the two together stay within the quota, also while they hold requests ready."""
    one, other = (
        Limits(open_state(tmp_path / "state.db"), per_minute=10_000, per_day=500, clock=clock) for _ in range(2)
    )

    async def busy():
        through = 0
        for _ in range(20):
            through += sum(await asyncio.gather(_count(one, 20), _count(other, 20)))
            clock.now += 0.3
        return through

    through = run(busy())
    held = sum(lease.left for limits in (one, other) for lease in limits._leases.values())
    assert through + held == 500
    assert through >= 500 - 2 * 32


def test_a_restart_forgets_nothing_and_an_orderly_end_gives_back(run, state, clock):
    limits = Limits(state, per_minute=10_000, per_day=100, clock=clock)

    async def use():
        for _ in range(40):
            await limits.take("k")
            clock.now += 0.01

    run(use())
    held = limits._leases["k"].left
    assert held > 0
    killed = Limits(state, per_minute=10_000, per_day=100, clock=clock)
    assert killed.used_today("k") == 40 + held  # tighter after kill -9, never wider
    run(limits.close())
    assert killed.used_today("k") == 40
    assert run(_count(killed, 100)) == 60


def test_a_busy_key_writes_the_state_seldom(run, state, clock, monkeypatch):
    limits = Limits(state, per_minute=100_000, clock=clock)
    writes = []
    real = limits._lease
    monkeypatch.setattr(limits, "_lease", lambda *a: writes.append(1) or real(*a))

    async def use():
        for _ in range(1000):
            await limits.take("k")
            clock.now += 0.005

    run(use())
    assert len(writes) < 60


def test_refusals_do_not_write_at_all(run, state, clock, monkeypatch):
    limits = Limits(state, per_minute=1, clock=clock)
    run(limits.take("k"))
    with pytest.raises(Limited):
        run(limits.take("k"))
    monkeypatch.setattr(limits, "_lease", lambda *a: pytest.fail("the state was asked"))
    for _ in range(50):
        with pytest.raises(Limited):
            run(limits.take("k"))


def test_keys_have_their_own_and_a_request_can_cost_more(run, state, clock):
    limits = Limits(state, per_minute=10, clock=clock)
    assert run(_count(limits, 20, "a")) == 10
    assert run(_count(limits, 20, "b", per_minute=15)) == 15
    run(limits.take("c", cost=9))
    with pytest.raises(Limited):
        run(limits.take("c", cost=2))
    with pytest.raises(Limited, match="more than the limit"):
        run(limits.take("d", cost=11))


def test_a_clock_that_goes_back_gives_nothing_twice(run, state, clock):
    limits = Limits(state, per_minute=60, clock=clock)
    assert run(_count(limits, 60)) == 60
    clock.now -= 30
    assert run(_count(limits, 60)) == 0
    clock.now += 30
    assert run(_count(Limits(state, per_minute=60, clock=clock), 60)) == 0
