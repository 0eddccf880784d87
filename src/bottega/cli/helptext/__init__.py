"""Reference pages of the commands and the recipes, written from the help texts and the recipes so that they cannot drift."""

from __future__ import annotations

from pathlib import Path

from bottega.cli import help_text

__all__ = ["check", "pages", "recipes_text", "write"]


def recipes_text() -> str:
    """Every shipped recipe as Markdown: what it makes, of what, by what, and what its header expects of it."""
    from bottega.workshop.recipe import load_recipe, shipped

    out = [
        "# Recipes",
        "",
        "Written by `python -m bottega.cli.helptext` from the recipes themselves; do not edit.",
        "",
        "`bottega train NAME` trains one, `bottega recipes NAME` prints it. Every key is a constructor argument: "
        "`--set family.size=64` changes one.",
        "",
    ]
    group = ""
    for name, path in sorted(shipped().items(), key=lambda item: (item[1].parent.name, item[0])):
        recipe = load_recipe(name)
        if path.parent.name != group:
            group = path.parent.name
            out += [f"## {group.capitalize()}", ""]
        data = recipe.data.get("name", "your own, by `--data`")
        out += [
            f"### {name}",
            "",
            f"{recipe.about[0].upper()}{recipe.about[1:]}. Family `{recipe.family['name']}`, codec "
            f"`{recipe.codec['name']}`, data {data}, {recipe.train.steps:,} steps of {recipe.train.batch}.",
            "",
            *recipe.header.splitlines(),
            "",
        ]
    return "\n".join(out)


def pages() -> dict[str, str]:
    """The text of each page by its file name."""
    return {"cli.md": help_text(), "recipes.md": recipes_text()}


def write(folder: Path) -> list[Path]:
    """Write the pages and return their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in pages().items():
        (folder / name).write_text(text, encoding="utf-8")
    return [folder / name for name in pages()]


def check(folder: Path) -> str:
    """Empty when the pages say what the program says; otherwise what is wrong and the mend."""
    for name, text in pages().items():
        path = folder / name
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            state = "out of date" if path.is_file() else "missing"
            return f"{path} is {state}; write it by python -m bottega.cli.helptext --write {folder}"
    return ""
