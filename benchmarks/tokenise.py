"""Scores of Nottingham read from MIDI files and made into event tokens, beside symusic and miditok (REMI), pair by pair.

Two ratios of ours to theirs, in seconds of processor time: of reading (symusic's is C++), and of tokenising scores that are
read (miditok works on symusic's arrays). Ours keeps names, keys and words and reads MIDI by mido. The tokens are not the same
ones: both say bars, positions, pitches, velocities, durations and tempos.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
import tempfile
import time
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks._common import keep, options, pairs, shared
from bottega.codecs.music import MusicCodec


def measure(files: Sequence[Path], rounds: int) -> dict[str, Any]:
    """Both, on the same files."""
    import miditok
    import symusic

    codec = MusicCodec(tokens="events", steps=8, length=1 << 16, velocity=True)
    items = [item for file in files for item in codec.read(file)]
    codec.fit(items)
    remi = miditok.REMI(
        miditok.TokenizerConfig(
            beat_res={(0, 12): 8}, num_velocities=8, use_tempos=True, use_time_signatures=True, use_programs=True
        )
    )
    scores = [symusic.Score(file) for file in files]
    ours = sum(len(codec.piece(item.value, item.name)) for item in items)
    theirs = sum(len(remi(score).ids) for score in scores)
    clock = time.process_time
    reading = pairs(lambda: [codec.read(f) for f in files], lambda: [symusic.Score(f) for f in files], rounds, 1, clock)
    tokens = pairs(
        lambda: [codec.piece(i.value, i.name) for i in items], lambda: [remi(s).ids for s in scores], rounds, 1, clock
    )
    return {
        "files": len(files), "notes": sum(len(i.value.notes) for i in items), "tokens": ours, "tokens_miditok": theirs,
        "reading": reading, "tokenising": tokens,
        "tokens_a_second": ours / tokens["a_seconds"], "tokens_a_second_miditok": theirs / tokens["b_seconds"],
    }  # fmt: skip


def main(argv: Sequence[str] = ()) -> None:
    """Measure and keep."""
    parser = options("tokenise", __doc__, "--peers venv/lib/python3.11/site-packages", "--files 20 --rounds 1")
    parser.add_argument("--peers", type=Path, help="a folder of installed packages with symusic and miditok")
    parser.add_argument("--files", type=int, default=200, help="of Nottingham's MIDI")
    parser.add_argument("--rounds", type=int, default=5)
    args: argparse.Namespace = parser.parse_args(argv)
    if args.peers:
        sys.path.append(str(args.peers))
    if missing := [name for name in ("symusic", "miditok") if importlib.util.find_spec(name) is None]:
        raise SystemExit(f"this benchmark needs {' and '.join(missing)}; install them, or say where by --peers")
    with tempfile.TemporaryDirectory() as folder, zipfile.ZipFile(shared() / "nottingham" / "nottingham_midi.zip") as z:
        names = sorted(n for n in z.namelist() if n.endswith(".mid"))[: args.files]
        files = [Path(z.extract(n, folder)) for n in names]
        result = measure(files, args.rounds)
    keep("tokenise", result, args)
