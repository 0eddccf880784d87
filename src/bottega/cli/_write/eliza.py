"""``bottega write eliza``: a conversation by script, without a model."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from bottega.cli._shared import Json, Out, Quiet

__all__ = ["eliza"]

PANEL, PLACE = "Of your own material", 9
EXAMPLES = """\
  bottega write eliza                                        talk; 'bye' ends it
  bottega write eliza "Men are all alike." "I am unhappy."   one answer to each
  bottega write eliza --script mine.toml < said.txt          a script of your own
"""


def eliza(
    said: Annotated[list[str], typer.Argument(metavar="TEXT...", help="What is said, one after another; standard input by default.")] = [],  # noqa: B006
    script: Annotated[Path | None, typer.Option("--script", metavar="FILE", help="Keywords, patterns and replies, as TOML or JSON; a psychotherapist by default.")] = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:  # fmt: skip
    """Converse as ELIZA did in 1966: keywords, patterns, and what was said with its pronouns turned round.

    There is no model and no chance: the same words, the same answers. A script has hello, goodbye, quit, otherwise, reflect,
    spell, groups and [[keyword]] with word, rank, [[keyword.rule]] and [[keyword.memory]] (match and say, or goto); in a
    pattern * is any words, @group a word of a group, [a b] one of these words, and {2} in a reply is the second of these.
    """
    from bottega.crafts import eliza as craft

    say = Out(as_json, quiet)
    talk = craft.Eliza(craft.read_script(script) if script else craft.doctor())
    exchanges = []
    if not said and talk.script.hello:
        say.say(talk.script.hello)
    for text in said or sys.stdin:
        if not text.strip():
            continue
        reply = talk.reply(text)
        exchanges.append({"said": text.rstrip("\n"), **reply.__dict__})
        say.say(reply.text)
        if reply.why == "goodbye":
            break
    say.result({"script": talk.script.name, "exchanges": exchanges})
