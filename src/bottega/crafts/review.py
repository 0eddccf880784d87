"""Before pieces go out: a machine looks at all of them, a person at those it doubts, and a gate lets the rest through.

>>> review = check("runs/faces")                                   # doctest: +SKIP
>>> review.write("runs/faces/pieces")                              # doctest: +SKIP
>>> release(review, decisions("decisions.json"), "out/")           # doctest: +SKIP
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Literal

import torch

from bottega.core import BottegaError, DataError, OutputError, RecipeError, Rng
from bottega.core.files import write_atomically
from bottega.judge import Case
from bottega.judge.memorisation import copied
from bottega.judge.quality import LEAST, Naturalness, measure
from bottega.trust.mark import read as read_mark
from bottega.workshop import evidence as ev
from bottega.workshop.build import find_data
from bottega.workshop.judging import MOST_TRAIN, rows_of
from bottega.workshop.report import embed, templates
from bottega.workshop.run import EVIDENCE, Run, load
from bottega.workshop.training import divide

__all__ = ["Checked", "Released", "Review", "check", "decisions", "read_review", "release"]

DOUBT = 0.05  # pieces that look less natural than all but this share of real pictures are seen by a person
AUDIT = 0.05  # and so is this share of the others
PLAIN = 0.7  # where the low end of the real/fake margin lies above this, a person sees all
MOST_BAD = 0.2  # refused and rejected, of all; above it the model is not fit for release
_HELD = 2000

Verdict = Literal["pass", "review", "refused"]


@dataclass(frozen=True)
class Checked:
    """One piece as the machine saw it.

    Attributes:
        file, sha256: which file, and what was in it.
        natural: the share of real held-out pictures that look no more natural; 0.5 is ordinary, 0.01 rare.
        verdict: ``"pass"``, ``"review"`` (a person decides) or ``"refused"`` (nobody need look).
        why: in a few words.
    """

    file: str
    sha256: str
    natural: float
    verdict: Verdict
    why: str


@dataclass(frozen=True)
class Review:
    """All pieces of a folder, the most doubtful first.

    Attributes:
        run: the name of the run that made them.
        weights: SHA-256 of its weights.
        margin: the chance that a piece looks less natural than a real picture; 0.5 is innocent, 1 is plain.
        pieces: what was found.
    """

    run: str
    weights: str
    margin: float
    pieces: list[Checked] = field(default_factory=list)

    @property
    def queue(self) -> list[Checked]:
        """Those a person must look at."""
        return [piece for piece in self.pieces if piece.verdict == "review"]

    def counts(self) -> dict[str, int]:
        """How many pieces have each verdict."""
        found = Counter(piece.verdict for piece in self.pieces)
        return {verdict: found[verdict] for verdict in ("pass", "review", "refused")}

    def write(self, folder: Path) -> Path:
        """``review.json``, and ``review.html`` where a person decides; returns the page. Raises OutputError."""
        write_atomically(folder / "review.json", json.dumps(asdict(self), indent=1))
        cards = [{"piece": piece, "uri": embed(folder / piece.file)} for piece in self.queue]
        page = templates().get_template("review.html.j2").render(r=self, cards=cards, doubt=DOUBT, audit=AUDIT)
        write_atomically(folder / "review.html", page)
        return folder / "review.html"


def check(run: Run | Path | str, pieces: Path | None = None, *, data: str | None = None, seed: int = 0) -> Review:
    """Look at every piece of a folder.

    Refused: what carries no mark of this run's weights, and near-exact copies of training pictures (as
    ``judge.memorisation`` finds them). For a person: what looks less natural than all but 5 % of held-out real pictures
    (``judge.quality``), and one in twenty of the rest, at least one, by ``seed``, to see what the machine misses. A person
    sees all that is not refused where fewer than 20 pictures were held out, since no rank among them is below 5 %, and
    where pieces as a whole look less natural than real pictures (``real_fake_margin``, its low end above 0.7).

    Args:
        run: that made them.
        pieces: their folder; ``pieces`` in the run's by default.
        data: what it was trained on, where that has moved.
        seed: of the audit.

    Raises:
        BottegaError: the run makes no pictures of at least 16 pixels a side.
        DataError: no pieces there, nothing held out, or the data is not what the run was trained on.
    """
    run = run if isinstance(run, Run) else load(run)
    folder = Path(pieces) if pieces is not None else run.path / "pieces"
    if run.codec.medium != "image" or not run.spec.is_image or min(run.spec.shape[1:]) < LEAST:
        raise BottegaError(
            f"{run.path.name} makes no pictures of {LEAST} pixels a side or more; those are what can be reviewed"
        )
    files = sorted(path for path in folder.glob("*.png") if path.name != "sheet.png")
    if not files:
        raise DataError(f"there are no pieces in {folder}; make some with bottega sample {run.path}")
    dataset = find_data(run.recipe, data or run.header["data_argument"] or None, run.codec)
    parts = divide(run.recipe, dataset)
    if not parts.held:
        raise DataError(f"{run.path} kept no pieces back (data.held is 0); train with data.held above 0")
    train = rows_of(run.codec, parts.train, MOST_TRAIN, seed)
    held = rows_of(run.codec, parts.held, _HELD, seed)
    made = (
        run.codec.source([run.codec.read(path)[0] for path in files], train=False)
        if not run.spec.given_picture
        else None
    )
    if made is None:
        raise BottegaError(f"{run.path.name} makes pictures of pictures; judge such runs by bottega judge")
    x = made.take(torch.arange(len(files))).x
    case = Case("image", run.spec, train, held, x, seed=seed)
    natural = Naturalness(run.spec.as_real(train.x[:_HELD]))
    real, seen = (natural.distance(run.spec.as_real(t)) for t in (held.x, x))
    share = (1 + (real[None] >= seen[:, None]).sum(1)).double() / (1 + len(real))
    copies = copied(case, "samples")
    margin = next(m for m in measure(case) if m.name == "real_fake_margin")
    all_of_them = ""
    if 1 / (1 + len(real)) >= DOUBT:
        all_of_them = f"only {len(real)} pictures were held out, too few to see what is odd"
    elif margin.low is not None and margin.low > PLAIN:
        all_of_them = "the pieces as a whole look less natural than real pictures"
    drawn = Rng(seed).uniform(len(files))
    found = []
    for i in seen.argsort(descending=True, stable=True).tolist():
        path, s, said = files[i], share[i].item(), read_mark(files[i])
        verdict: Verdict = "pass"
        why = "looks as natural as real pictures do"
        if "machine_made" not in said:
            verdict, why = "refused", "carries no mark of its making"
        elif said.get("weights") != run.weights_hash:
            verdict, why = "refused", "carries the mark of other weights than this run's"
        elif copies[i]:
            verdict, why = "refused", "is a near-exact copy of a training picture"
        elif s < DOUBT:
            verdict, why = "review", f"looks less natural than {100 * (1 - s):.0f} % of real pictures"
        elif all_of_them:
            verdict, why = "review", all_of_them
        found.append((drawn[i].item(), Checked(path.name, _sha256(path), s, verdict, why)))
    least = min((draw for draw, piece in found if piece.verdict == "pass"), default=0.0)
    pieces_seen = [
        replace(piece, verdict="review", why="drawn at random, to see what the machine misses")
        if piece.verdict == "pass" and (draw < AUDIT or draw == least)
        else piece
        for draw, piece in found
    ]
    return Review(run.path.name, run.weights_hash, margin.value, pieces_seen)


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def read_review(folder: Path) -> Review:
    """The review that stands in a folder of pieces; raises DataError when there is none, or it is damaged."""
    path = folder / "review.json"
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        return Review(told["run"], told["weights"], told["margin"], [Checked(**piece) for piece in told["pieces"]])
    except OSError as error:
        raise DataError(f"there is no review of {folder}; bottega review RUN makes it") from error
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path} is damaged ({error}); review again") from error


def decisions(path: Path) -> dict[str, bool]:
    """What a person decided on the page: SHA-256 of a piece -> whether it may go out.

    Raises:
        DataError: the file cannot be read, or is not what the page saved.
    """
    try:
        told = json.loads(path.read_text(encoding="utf-8"))["decisions"]
        return {str(sha): {"accept": True, "reject": False}[said] for sha, said in told.items()}
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}; save it from review.html") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{path} holds no decisions ({error}); save it from review.html") from error


@dataclass(frozen=True)
class Released:
    """What the gate let through: files, and how many were left behind for which reason."""

    files: list[Path]
    left: dict[str, int]


def release(
    review: Review,
    pieces: Path,
    said: Mapping[str, bool],
    out: Path,
    *,
    most_bad: float = MOST_BAD,
    run: Path | None = None,
) -> Released:
    """Copy what may go out into ``out``, with ``release.json``; or stay shut, and say why.

    Args:
        review: of the folder ``pieces``.
        pieces: where they lie.
        said: what a person decided, by SHA-256.
        out: a folder that does not exist, or is empty.
        most_bad: share of all that may be refused or rejected.
        run: the run's folder; what the gate did goes into its evidence.

    Raises:
        BottegaError: the gate stays shut: pieces wait for a person, changed since they were looked at, or too many are bad.
        RecipeError: ``most_bad`` is no share.
        OutputError: ``out`` is in use.
    """
    if not 0 <= most_bad <= 1:
        raise RecipeError(f"most_bad is {most_bad}; it is a share, from 0 to 1")
    waiting = [piece.file for piece in review.queue if piece.sha256 not in said]
    if waiting:
        raise BottegaError(
            f"the gate stays shut: {len(waiting)} pieces wait for a person ({waiting[0]}, ...); decide in "
            f"{pieces / 'review.html'} and give --decisions"
        )
    changed = [piece.file for piece in review.pieces if not _is_as_it_was(pieces / piece.file, piece.sha256)]
    if changed:
        raise BottegaError(f"the gate stays shut: {changed[0]} changed since it was looked at; review again")
    good = [p for p in review.pieces if p.verdict == "pass" or (p.verdict == "review" and said[p.sha256])]
    rejected = sum(not said[piece.sha256] for piece in review.queue)
    left = {"refused": review.counts()["refused"], "rejected": rejected}
    bad = 1 - len(good) / len(review.pieces)
    report = {"released": len(good), **left, "bad_share": bad, "most_bad": most_bad, "real_fake_margin": review.margin}
    if run is not None and (run / EVIDENCE).exists():
        found = ev.Evidence.read(run / EVIDENCE)
        found.gates["review"] = {**report, "open": bad <= most_bad}
        found.write(run / EVIDENCE)
    if bad > most_bad:
        raise BottegaError(
            f"the gate stays shut: {100 * bad:.0f} % of {len(review.pieces)} pieces are refused or rejected, more than "
            f"{100 * most_bad:.0f} %; the model is not fit for release"
        )
    if out.exists() and any(out.iterdir()):
        raise OutputError(f"{out} is not empty; name a new folder, so that nothing old goes out with the new")
    out.mkdir(parents=True, exist_ok=True)
    files = [Path(shutil.copy2(pieces / piece.file, out / piece.file)) for piece in good]
    listed = [{"file": p.file, "sha256": p.sha256, "natural": p.natural, "by": "person" if p.verdict == "review" else "machine"}
              for p in good]  # fmt: skip
    write_atomically(
        out / "release.json",
        json.dumps({"run": review.run, "weights": review.weights, **report, "pieces": listed}, indent=1),
    )
    return Released(files, left)


def _is_as_it_was(path: Path, sha256: str) -> bool:
    return path.is_file() and _sha256(path) == sha256
