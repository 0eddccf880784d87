"""``bottega mix``: the desk: effects, repair, mixes, masters and sounds to a description; each task a file in ``_mix``."""

from __future__ import annotations

__all__ = ["mix"]

PANEL, PLACE, TASKS = "Crafts", 41, "_mix"
EXAMPLES = """\
  bottega mix stems my/stems --out mix.wav                       levels, places, equalisers: a mix of a folder of stems
  bottega mix master mix.wav --reference liked.flac              as loud and as bright as is wished
  bottega mix repair voice.wav                                   find hum, noise, clicks, boom ... and mend them
  bottega mix effect voice.wav "high_pass hz=80" "compressor threshold_db=-24 ratio=3" "reverb seconds=1.5 wet=0.2"
  bottega mix design --brightness 2000 --noisiness 0.01 --seconds 2
  bottega mix measure *.wav                                      loudness, true peak, range
"""


def mix() -> None:
    """Mix, master, repair and make sounds, by measure: what was chosen is said, and how far it helped.

    Nothing here is trained or downloaded. What needs loudness or files needs pip install 'bottega[audio]'.
    """
