"""``bottega speak consent``: a record of what someone allows to be done with their voice."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Annotated

import typer

from bottega.cli._shared import Json, Out, Quiet, own_place

__all__ = ["consent"]

PANEL, PLACE = "Voices of people", 1
EXAMPLES = """\
  bottega speak consent --who "Ann Lee" --voice ann.wav --purpose "her own audiobook" --until 2027-12-31 --out ann.toml
  bottega speak consent --revoke ann.toml
"""


def consent(
    who: Annotated[str, typer.Option("--who", metavar="NAME", help="Whose voice it is.")] = "",
    voice: Annotated[list[Path], typer.Option("--voice", metavar="FILE", help="A recording of it that may be used; may be given many times.")] = [],  # noqa: B006
    purpose: Annotated[str, typer.Option("--purpose", metavar="TEXT", help="What for; it is written into what is made.")] = "",
    use: Annotated[str, typer.Option("--use", metavar="clone,convert", help="What may be done; both by default.")] = "",
    since: Annotated[str, typer.Option("--from", metavar="DATE", help="The first day; today by default.")] = "",
    until: Annotated[str, typer.Option("--until", metavar="DATE", help="The last day, 2027-12-31 for example.")] = "",
    revoke: Annotated[Path | None, typer.Option("--revoke", metavar="FILE", help="Take a record back, in place.")] = None,
    out: Annotated[Path | None, typer.Option("--out", metavar="FILE", help="Where the record goes; consent.toml by default.")] = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:  # fmt: skip
    """Write down what a person allows: who, which recordings of their voice, what for, from when until when.

    The record is for you to keep honestly: have the person make it, or sign it on paper. Its seal shows changes by hand.
    --revoke changes that one file: a copy that was made of it before still allows what it says, so delete copies.
    """
    from bottega.codecs._sound_files import read_sound
    from bottega.core import DataError, RecipeError
    from bottega.crafts.speak_voice import LEAST_SAID, digest, usable
    from bottega.trust.consent import PURPOSES, Consent, read_consent, write_consent
    from bottega.trust.consent import revoke as taken_back

    say = Out(as_json, quiet)
    if revoke is not None:
        given = {"--who": who, "--voice": voice, "--purpose": purpose, "--use": use, "--from": since, "--until": until, "--out": out}  # fmt: skip
        if more := [name for name, value in given.items() if value]:
            raise typer.BadParameter(f"it takes a record back as it is; leave out {', '.join(more)}", param_hint="--revoke")  # fmt: skip
        record = taken_back(read_consent(revoke))
        path = write_consent(record, revoke)
    else:
        if not until:
            raise DataError("a consent has an end; give --until 2027-12-31")
        days = _day("--from", since) if since else date.today(), _day("--until", until)
        uses = tuple(u.strip() for u in (use or ",".join(PURPOSES)).split(",") if u.strip())
        if not uses or not set(uses) <= set(PURPOSES):
            raise RecipeError(f"--use is {use!r}; of {' and '.join(PURPOSES)}")
        out = own_place(out or Path("consent.toml"), voice)
        sounds = [read_sound(path) for path in voice]
        for path, sound in zip(voice, sounds, strict=True):
            usable(sound, str(path), LEAST_SAID)
        record = Consent(who, tuple(map(digest, sounds)), purpose, uses, *days)
        path = write_consent(record, out)
    say.say(f"{path}  {record.who}, {record.since} to {record.until}" + (f", revoked on {record.revoked}" if record.revoked else ""))  # fmt: skip
    say.result({"file": path, "who": record.who, "seal": record.seal, "revoked": record.revoked})


def _day(option: str, text: str) -> date:
    from bottega.core import DataError

    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise DataError(f"{option} {text!r} is no date ({error}); write 2027-12-31") from error
