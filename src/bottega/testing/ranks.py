"""Two processes joined by gloo, started once and kept, to see what data-parallel training does to gradients."""

from __future__ import annotations

import atexit
import multiprocessing
import sys
import tempfile
import traceback
from datetime import timedelta
from functools import lru_cache
from multiprocessing.connection import Connection
from multiprocessing.reduction import ForkingPickler
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from bottega.testing.cases import Subject

__all__ = ["Pair", "pair", "why_not_sent"]

_ROWS = (slice(0, 4), slice(4, 7))
_SECONDS = 120


def _work(rank: int, store: str, pipe: Connection) -> None:
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", init_method=f"file://{store}", rank=rank, world_size=2, timeout=timedelta(seconds=_SECONDS)
    )
    while True:
        sys.path[:] = pipe.recv()  # first, so that what makes the subject can be found
        try:
            subject: Subject = pipe.recv()
            turns = subject.gradients(_ROWS[rank])
            pipe.send([[None if grad is None else grad.numpy() for grad in grads] for grads in turns])
        except Exception:
            pipe.send(traceback.format_exc())


class Pair:
    """Two processes that play the turns of a subject on 4 and 3 rows."""

    def __init__(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        context = multiprocessing.get_context("spawn")
        self.pipes, self.processes = [], []
        for rank in (0, 1):
            ours, theirs = context.Pipe()
            process = context.Process(
                target=_work, args=(rank, str(Path(self.folder.name) / "store"), theirs), daemon=True
            )
            process.start()
            theirs.close()
            self.pipes.append(ours)
            self.processes.append(process)
        atexit.register(self.close)

    def gradients(self, subject: Subject) -> list[list[list[Any]]]:
        """For each rank what ``Subject.gradients`` gives there, as arrays; raises AssertionError when a rank fails."""
        for pipe in self.pipes:
            pipe.send(sys.path)
            pipe.send(subject)
        answers: list[Any] = []
        for rank, pipe in enumerate(self.pipes):
            answer = pipe.recv() if pipe.poll(_SECONDS) else "no answer"
            if isinstance(answer, str):  # the other rank may wait for ever: start afresh next time
                self.close()
                pair.cache_clear()
                raise AssertionError(f"rank {rank} of 2: {answer}")
            answers.append(answer)
        return answers

    def close(self) -> None:
        """End the processes."""
        for process in self.processes:
            process.terminate()
            process.join()
        self.folder.cleanup()


@lru_cache(1)
def pair() -> Pair:
    """The two processes, started at the first call."""
    return Pair()


def why_not_sent(subject: Subject) -> str:
    """Empty when ``subject`` can be sent to another process; otherwise why not."""
    try:
        ForkingPickler.dumps(subject)
    except Exception:  # whatever it is, it cannot be sent
        return "its maker cannot be sent to another process; give a class or a function of a module"
    return ""
