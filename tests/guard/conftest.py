"""A state with a clock that tests set, and keys whose hashes are cheap."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from argon2 import PasswordHasher

from bottega.serve.keys import Keys
from bottega.serve.state import open_state

CHEAP = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)


@dataclass
class Clock:
    now: float = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def state(tmp_path):
    opened = open_state(tmp_path / "state.db")
    yield opened
    opened.engine.dispose()


@pytest.fixture
def keys(state, clock):
    return Keys(state, clock, CHEAP)
