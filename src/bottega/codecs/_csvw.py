"""CSV files with their metadata beside them, where a mark has its place."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Sequence
from pathlib import Path

from bottega.core import OutputError

__all__ = ["write_csv"]


def write_csv(
    path: Path, kinds: dict[str, str], rows: Iterable[Sequence[str]], mark: dict[str, str] | None = None
) -> Path:
    """Write ``rows`` under a header and ``<file>-metadata.json``, which holds the kinds and the ``mark``.

    The metadata follow the W3C's *Metadata Vocabulary for Tabular Data* (CSVW, 2015); its readers find them by name.

    Args:
        path: of the file; ``.csv`` is added when it ends otherwise.
        kinds: the header, each column with its CSVW datatype.
        rows: the fields as they are to stand in the file.
        mark: what says that the table is machine-made.

    Raises:
        OutputError: the file cannot be written.
    """
    path = path if path.suffix.lower() == ".csv" else path.with_name(path.name + ".csv")
    columns = [{"name": name, "titles": name, "datatype": kind} for name, kind in kinds.items()]
    metadata = {
        "@context": "http://www.w3.org/ns/csvw",
        "url": path.name,
        "tableSchema": {"columns": columns},
        "notes": [mark] if mark else [],
    }
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w", newline="", encoding="utf-8") as file:
            out = csv.writer(file, lineterminator="\n")
            out.writerow(kinds)
            out.writerows(rows)
        text = json.dumps(metadata, indent=1, ensure_ascii=False) + "\n"
        path.with_name(path.name + "-metadata.json").write_text(text, encoding="utf-8")
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror}; choose another place with --out") from error
    return path
