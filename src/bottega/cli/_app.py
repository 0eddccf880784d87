"""Verbs by file name, and what becomes of their errors."""

from __future__ import annotations

import difflib
import errno
import importlib
import os
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

import bottega

__all__ = ["help_text", "run", "verbs"]

_HERE = Path(__file__).parent
_ClickException: Any = typer.BadParameter.__mro__[2]  # typer may carry its own click; this is the one it raises
_ABOUT = """One workshop for every kind of generative model.

Bring a folder, file or table of your own; Bottega trains the right model, says how good it is, makes new pieces and
marks them as machine-made, offline, on the machine you have.
"""
_EPILOG = """\b
First steps:
  bottega demo                                   three models on real data, in minutes
  bottega train my/pictures                      a model of your own folder
  bottega sample runs/pictures-pictures -n 16    new pieces from it
"""
# What the machine or the user's files are to blame for; any other OSError is a fault of ours.
_USERS = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.ENOENT, errno.ENOTDIR,
          errno.EISDIR, errno.EEXIST, errno.ENAMETOOLONG}  # fmt: skip


def verbs(room: str = "") -> list[str]:
    """Every verb: the files of this folder, or of a verb's own folder, whose names do not begin with an underscore.

    >>> "generate" in verbs("_write"), "generate" in verbs()
    (True, False)
    """
    return sorted(path.stem for path in (_HERE / room).glob("*.py") if not path.stem.startswith("_"))


class Verbs(TyperGroup):
    """Commands that are imported when asked for, shown under the panels that they name themselves.

    A verb that has many tasks names the folder of their files as ``TASKS``; each is a file there as a verb is one here. What
    it does with a word that is none of them it may name as ``DEFAULT``.
    """

    room, kind, default = "", "verb", ""

    def list_commands(self, ctx: Any) -> list[str]:
        """The verbs, in the order in which a newcomer meets them."""
        return sorted(verbs(self.room), key=lambda verb: _module(verb, self.room).PLACE)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """One verb, or None."""
        return _command(cmd_name, self.room) if cmd_name in verbs(self.room) else None

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The verb that ``args`` begin with; an unknown one is answered with the nearest."""
        known = verbs(self.room)
        if args[0] not in known and self.default:
            return super().resolve_command(ctx, [self.default, *args])
        if args[0] not in known and not args[0].startswith("-"):
            close = difflib.get_close_matches(args[0], known, n=1)
            hint = f"did you mean {close[0]!r}?" if close else f"{self.kind}s: {', '.join(known)}"
            ctx.fail(f"unknown {self.kind} {args[0]!r}; {hint}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """The verbs with their first sentences, panel by panel."""
        panels: dict[str, list[tuple[str, str]]] = {}
        for verb in self.list_commands(ctx):
            first = _command(verb, self.room).get_short_help_str(limit=200)
            panels.setdefault(_module(verb, self.room).PANEL, []).append((verb, first))
        width = max(len(verb) for rows in panels.values() for verb, _ in rows)
        for panel, rows in panels.items():
            with formatter.section(panel):
                formatter.write_dl([(verb.ljust(width), first) for verb, first in rows])


class Tasks(Verbs):
    """The tasks of one verb."""

    kind = "task"


def _module(verb: str, room: str = "") -> Any:
    return importlib.import_module(".".join(filter(None, ("bottega.cli", room, verb))))


def _command(verb: str, room: str = "") -> Any:
    module = _module(verb, room)
    plain: dict[str, Any] = {"add_completion": False, "rich_markup_mode": None, "pretty_exceptions_enable": False}
    function, epilog = getattr(module, module.__all__[0]), f"\b\nExamples:\n{module.EXAMPLES}"
    if tasks := getattr(module, "TASKS", ""):
        group = typer.Typer(
            cls=type("Tasks", (Tasks,), {"room": tasks, "default": getattr(module, "DEFAULT", "")}), **plain
        )
        group.callback(help=function.__doc__, epilog=epilog, no_args_is_help=True)(function)
        return typer.main.get_command(group)
    one = typer.Typer(**plain)
    one.command(verb, epilog=epilog, no_args_is_help=False)(function)
    return typer.main.get_command(one)


def _app() -> Any:
    app = typer.Typer(cls=Verbs, add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)

    @app.callback(help=_ABOUT, epilog=_EPILOG, no_args_is_help=True)
    def _top(
        version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")] = False,
    ) -> None: ...  # fmt: skip

    return typer.main.get_command(app)


def _version(asked: bool) -> None:
    if asked:
        print(f"bottega {bottega.__version__}")
        raise typer.Exit


def _say(message: str) -> None:
    """One line on standard error, whatever the message holds."""
    print("bottega:", " ".join(message.split()), file=sys.stderr)


def run(args: Sequence[str] | None = None) -> int:
    """Run the command line; see ``bottega.cli.main``."""
    args = list(sys.argv[1:] if args is None else args)
    with warnings.catch_warnings():
        warnings.showwarning = _warn
        return _run(args)


def _warn(message: Warning | str, category: type[Warning], filename: str, lineno: int, *_: Any) -> None:
    """Our own warnings in one line for people; those of libraries as Python writes them."""
    if Path(filename).is_relative_to(_HERE.parent):
        _say(f"note: {message}")
    else:
        sys.stderr.write(warnings.formatwarning(message, category, filename, lineno))


def _run(args: list[str]) -> int:
    try:
        try:
            app = _app()
            with app.make_context("bottega", args) as ctx:
                app.invoke(ctx)
            sys.stdout.flush()
            return 0
        except typer.Exit as done:
            sys.stdout.flush()
            return done.exit_code
        except _ClickException as error:
            return _usage(error)
    except BrokenPipeError:  # the reader (``| head``) has seen enough; python would complain once more at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt as stop:
        _say(str(stop) or "stopped")
        return 130
    except OSError as error:
        if error.errno not in _USERS:
            return _fault()
        what = error.filename or "a file"
        _say(f"{what}: {(error.strerror or str(error)).lower()}; check the path, its permissions and the free space")
        return 2
    except Exception as error:
        from bottega.core.errors import BottegaError

        if not isinstance(error, BottegaError):
            return _fault()
        _say(str(error))
        return 2


def _usage(error: Any) -> int:
    if type(error).__name__ == "NoArgsIsHelpError":
        print(error.format_message())
        return 0
    message = error.format_message().rstrip(".")
    ctx = getattr(error, "ctx", None)
    path = ctx.command_path if ctx is not None else "bottega"
    _say(f"{message[0].lower()}{message[1:]} ({path} --help shows how)")
    return 2


def _fault() -> int:
    import platform
    import traceback

    traceback.print_exc()
    _say(
        f"this is a fault of ours, not yours; please report it with the lines above "
        f"(bottega {bottega.__version__}, Python {platform.python_version()}, {platform.system()})"
    )
    return 1


def help_text(width: int = 100) -> str:
    """The help of ``bottega`` and of every verb as Markdown."""
    app = _app()
    top = app.make_context("bottega", ["demo"], resilient_parsing=True, terminal_width=width, max_content_width=width)
    pages = [("## bottega", app.get_help(top))]
    for verb in app.list_commands(top):
        command = _command(verb)
        ctx = command.make_context(
            verb, [], parent=top, resilient_parsing=True, terminal_width=width, max_content_width=width
        )
        pages.append((f"## bottega {verb}", command.get_help(ctx)))
        for task in command.list_commands(ctx) if isinstance(command, Tasks) else ():
            one = command.get_command(ctx, task)
            under = one.make_context(
                task, [], parent=ctx, resilient_parsing=True, terminal_width=width, max_content_width=width
            )
            pages.append((f"### bottega {verb} {task}", one.get_help(under)))
    out = ["# Command line", "", "Written by `python -m bottega.cli.helptext`; do not edit.", ""]
    for title, text in pages:
        body = "\n".join(line.rstrip() for line in text.strip().splitlines())
        out += [title, "", "```text", body, "```", ""]
    return "\n".join(out)
