"""What the files of ``bottega compress`` have in common: a header, what the entropy coder wrote, a checksum."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bottega.core import BottegaError, DataError, OutputError
from bottega.workshop.run import Run

__all__ = ["Envelope", "Words", "agree", "apart", "entropy_coding", "stack"]

Words = NDArray[np.uint32]


@dataclass(frozen=True)
class Envelope:
    """A kind of file: magic, version, way, the first 8 bytes of the weights' hash, fields, how many words, words, CRC-32.

    Attributes:
        magic: its first four bytes.
        version: of the format.
        fields: between hash and words, as ``struct`` writes them.
    """

    magic: bytes
    version: int
    fields: str

    @property
    def header(self) -> struct.Struct:
        """Of all that stands before the words."""
        return struct.Struct(f"<4sBB8s{self.fields}I")

    def wrap(self, run: Run, way: int, values: tuple[Any, ...], words: Words) -> bytes:
        """The file's bytes."""
        weights = bytes.fromhex(run.weights_hash[:16])
        head = self.header.pack(self.magic, self.version, way, weights, *values, len(words))
        body = head + words.astype("<u4").tobytes()
        return body + struct.pack("<I", zlib.crc32(body))

    def unwrap(self, run: Run, data: bytes, name: str) -> tuple[int, tuple[Any, ...], Words]:
        """The way, the fields and the words.

        Raises:
            DataError: names ``name``; not such a file, cut short, damaged, of another version or another model.
        """
        if data[:4] != self.magic[: len(data)]:
            raise DataError(
                f"{name} is no file of bottega compress (it does not begin with {self.magic.decode()}); give one that is"
            )
        size = self.header.size
        if len(data) < size + 4:
            raise DataError(f"{name} is cut short: {len(data)} bytes do not even hold the header; copy it again")
        _, version, way, weights, *values, count = self.header.unpack_from(data)
        if version > self.version:
            raise DataError(
                f"{name} was written by a newer version (format {version}, this is {self.version}); update bottega"
            )
        if version < self.version:
            raise DataError(
                f"{name} was written by an earlier version (format {version}, this is {self.version}); compress again"
            )
        whole = size + 4 * count + 4
        if len(data) < whole:
            raise DataError(f"{name} is cut short: {len(data)} of {whole} bytes are there; copy it again")
        if len(data) > whole or zlib.crc32(data[: whole - 4]) != struct.unpack_from("<I", data, whole - 4)[0]:
            raise DataError(f"{name} is damaged: its checksum does not fit; copy it again")
        if weights.hex() != run.weights_hash[:16]:
            raise DataError(
                f"{name} was written by another model (weights {weights.hex()}, this run has {run.weights_hash[:16]}); "
                "give the run that wrote it"
            )
        return way, tuple(values), np.frombuffer(data, "<u4", count, size).astype(np.uint32)


def apart(source: str | Path, path: str | Path) -> None:
    """Refuse to write over what is read."""
    if Path(source).exists() and Path(path).exists() and Path(path).samefile(source):
        raise OutputError(f"{path} is the file that is read, and would be written over; give another name")


def agree(found: int, check: int, name: str) -> None:
    """Refuse symbols that are not those which were written."""
    if found != check:
        raise DataError(
            f"{name} does not come back here: this machine computes otherwise than the one that wrote it; read it there"
        )


def entropy_coding() -> Any:
    """The part of ``constriction`` that codes streams of symbols."""
    try:
        import constriction
    except ImportError as error:
        raise BottegaError("compressing needs the package constriction: pip install 'bottega[compress]'") from error
    return constriction.stream


def stack(words: Words | None = None) -> Any:
    """An entropy coder by asymmetric numeral systems (Duda 2013, arXiv:1311.2540), which gives back last what came first."""
    return entropy_coding().stack.AnsCoder(*(() if words is None else (words,)))
