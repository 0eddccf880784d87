"""Speech of many voices, rendered by the installed program espeak-ng: sentences whose words and voices are known."""

from __future__ import annotations

import functools
import hashlib
import io
import math
import os
import shutil
import subprocess
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bottega.core import DataError, Item, Sound, nearest
from bottega.core.english import MONTHS, ONES, TENS
from bottega.data._draw import LICENCE, SOURCE, Draw
from bottega.data._kept import cache_folder
from bottega.data.dataset import Dataset

__all__ = ["CASTS", "Line", "Voice", "espeak", "render", "sentences"]


class Voice(NamedTuple):
    """A voice of espeak-ng: a variant of a language's voice, its pitch (0 to 99) and its speed in words a minute."""

    variant: str
    pitch: int = 50
    speed: int = 160


# Each variant has formants, pitch and a way of speaking of its own; those that are all but copies of others are left out.
_KNOWN = {
    "adam": Voice("adam"), "andrea": Voice("Andrea"), "andy": Voice("Andy"), "annie": Voice("Annie"),
    "antonio": Voice("antonio"), "aunty": Voice("aunty"), "belinda": Voice("belinda"), "boris": Voice("boris"),
    "caleb": Voice("caleb", 60), "david": Voice("david"), "denis": Voice("Denis"), "ed": Voice("ed", 35),
    "fay": Voice("f2", 45), "flora": Voice("f3", 70), "gene": Voice("Gene"), "hugo": Voice("Hugo", 40),
    "iven": Voice("iven"), "kaukovalta": Voice("kaukovalta"), "linda": Voice("linda"), "marco": Voice("Marco"),
    "mat": Voice("m3", 40), "max": Voice("max", 65), "quincy": Voice("quincy"), "steph": Voice("steph"),
}  # fmt: skip
_NEW = {
    "anika": Voice("anika"), "diogo": Voice("Diogo"), "fiona": Voice("f4", 60), "gustave": Voice("Gustave"),
    "jacky": Voice("Jacky"), "mike": Voice("Mike", 30), "mark": Voice("m7", 55), "victor": Voice("victor"),
}  # fmt: skip
_OTHERS = {
    "alex": Voice("Alex"), "alicia": Voice("Alicia"), "benjamin": Voice("benjamin"), "edward": Voice("edward"),
    "faith": Voice("f5"), "frida": Voice("f1", 55), "grandma": Voice("grandma"), "henrique": Voice("Henrique"),
    "john": Voice("john"), "lee": Voice("Lee"), "manu": Voice("m1", 45), "marcelo": Voice("marcelo"), "mel": Voice("m5", 60),
    "michael": Voice("michael"), "miles": Voice("m2", 35), "pablo": Voice("pablo"), "rob": Voice("rob"), "sandro": Voice("sandro"),
    "travis": Voice("travis"), "zac": Voice("zac"),
}  # fmt: skip

CASTS: dict[str, dict[str, Voice]] = {"known": _KNOWN, "new": _NEW, "others": _OTHERS}
"""Three casts without a voice in common: to learn to speak from, to be cloned, and to train judges on."""

_ADJECTIVES = [
    "angry",
    "bright",
    "broken",
    "brown",
    "busy",
    "calm",
    "careful",
    "cheap",
    "clean",
    "clever",
    "cold",
    "cool",
    "dark",
    "deep",
    "dry",
    "early",
    "easy",
    "empty",
    "famous",
    "fast",
    "fresh",
    "gentle",
    "golden",
    "good",
    "great",
    "green",
    "happy",
    "heavy",
    "hungry",
    "large",
    "lazy",
    "little",
    "long",
    "loud",
    "lucky",
    "modern",
    "narrow",
    "new",
    "nice",
    "noisy",
    "old",
    "orange",
    "pale",
    "perfect",
    "pleasant",
    "pretty",
    "proud",
    "purple",
    "quick",
    "quiet",
    "rare",
    "rich",
    "rough",
    "round",
    "royal",
    "sharp",
    "short",
    "silent",
    "silver",
    "simple",
    "slow",
    "small",
    "smooth",
    "soft",
    "sour",
    "strange",
    "strong",
    "sweet",
    "tall",
    "thick",
    "thin",
    "tiny",
    "tired",
    "usual",
    "vast",
    "warm",
    "weak",
    "wet",
    "white",
    "wide",
    "wild",
    "wise",
    "yellow",
    "young",
]
_NOUNS = [
    "apple",
    "artist",
    "author",
    "baby",
    "bird",
    "boat",
    "book",
    "bottle",
    "box",
    "boy",
    "bridge",
    "brother",
    "butter",
    "camera",
    "candle",
    "captain",
    "castle",
    "cat",
    "chair",
    "cheese",
    "child",
    "church",
    "city",
    "clock",
    "cloud",
    "coat",
    "coffee",
    "cook",
    "country",
    "cousin",
    "cow",
    "daughter",
    "dentist",
    "doctor",
    "dog",
    "door",
    "dream",
    "driver",
    "eagle",
    "engine",
    "evening",
    "farmer",
    "father",
    "fire",
    "fish",
    "flower",
    "forest",
    "fox",
    "friend",
    "garden",
    "ghost",
    "giraffe",
    "girl",
    "glass",
    "guitar",
    "hammer",
    "hat",
    "horse",
    "house",
    "island",
    "jacket",
    "jewel",
    "judge",
    "juice",
    "kettle",
    "key",
    "king",
    "kitchen",
    "knife",
    "ladder",
    "lake",
    "language",
    "lawyer",
    "leather",
    "letter",
    "lion",
    "machine",
    "map",
    "measure",
    "milk",
    "mirror",
    "money",
    "monkey",
    "moon",
    "mother",
    "mountain",
    "mouse",
    "mouth",
    "music",
    "neighbour",
    "nurse",
    "ocean",
    "office",
    "oil",
    "onion",
    "owl",
    "page",
    "paper",
    "party",
    "pencil",
    "piano",
    "picture",
    "pilot",
    "plane",
    "poem",
    "poet",
    "potato",
    "prince",
    "queen",
    "question",
    "rabbit",
    "radio",
    "river",
    "road",
    "robot",
    "room",
    "rose",
    "sailor",
    "school",
    "shadow",
    "sheep",
    "ship",
    "shirt",
    "shoe",
    "singer",
    "sister",
    "snake",
    "snow",
    "soldier",
    "song",
    "soup",
    "spoon",
    "stone",
    "storm",
    "story",
    "street",
    "student",
    "sugar",
    "sun",
    "table",
    "teacher",
    "theatre",
    "thief",
    "thing",
    "thumb",
    "tiger",
    "tooth",
    "tower",
    "toy",
    "train",
    "treasure",
    "tree",
    "truth",
    "uncle",
    "valley",
    "village",
    "violin",
    "voice",
    "wagon",
    "watch",
    "water",
    "weather",
    "wheel",
    "whistle",
    "wife",
    "window",
    "winter",
    "witch",
    "woman",
    "wood",
    "word",
    "worker",
    "world",
    "yacht",
    "zebra",
]
_VERBS = [
    "answered",
    "asked",
    "believed",
    "bought",
    "broke",
    "brought",
    "built",
    "called",
    "carried",
    "caught",
    "changed",
    "chose",
    "cleaned",
    "closed",
    "copied",
    "counted",
    "crossed",
    "described",
    "drew",
    "enjoyed",
    "feared",
    "fed",
    "followed",
    "forgot",
    "found",
    "gave",
    "held",
    "heard",
    "helped",
    "joined",
    "judged",
    "kept",
    "kissed",
    "knew",
    "left",
    "liked",
    "lost",
    "loved",
    "made",
    "measured",
    "met",
    "missed",
    "moved",
    "needed",
    "noticed",
    "opened",
    "owned",
    "painted",
    "passed",
    "placed",
    "pushed",
    "reached",
    "remembered",
    "saved",
    "saw",
    "sold",
    "taught",
    "thanked",
    "threw",
    "took",
    "touched",
    "trusted",
    "used",
    "visited",
    "wanted",
    "washed",
    "watched",
    "wished",
    "wrote",
]
_PLACES = """above the bridge|across the river|after lunch|at the station|before noon|behind the house|beside the lake|between
two hills|by the fire|during the storm|for a year|from the roof|in the garden|in the morning|near the old church|on the
beach|over the wall|since yesterday|through the window|under the table|until midnight|with great joy|without a sound""".replace("\n", " ").split("|")  # fmt: skip
_ADVERBS = ["again", "always", "badly", "carefully", "finally", "just then", "never", "often", "once", "perhaps", "quickly", "quietly", "really", "slowly", "soon", "suddenly", "usually", "well"]  # fmt: skip
_NUMBERS = [*ONES[2:], *TENS[2:]]
_DAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]


_SEMITONE = 5  # the program's units of pitch, about
_THROATS = (1.0, 1.07, 0.935, 1.145, 0.874)


class Line(NamedTuple):
    """A sentence that is to be rendered: in which voice, and how; ``throat`` times its formants, pitch and tempo as they are asked for."""

    text: str
    voice: Voice
    pitch: int
    speed: int
    amplitude: int
    throat: float = 1.0


def sentences(n: int, seed: int = 0) -> list[str]:
    """``n`` different English sentences of 4 to 10 words, out of about 500 words that hold every sound of English.

    They make little sense, so that no word follows from its neighbours (semantically unpredictable sentences: Benoit,
    Grice and Hazan 1996).

    >>> sentences(2, seed=1)[0][-1] in ".?!"
    True
    """
    draw, out = Draw(seed), {}
    while len(out) < n:
        out[_sentence(draw)] = None
    return list(out)


def _sentence(draw: Draw) -> str:
    def thing() -> str:
        return f"{draw.of(('the', 'the', 'a', 'this', 'that', 'her', 'his', 'our', 'my', 'your'))} {_adjective()}{draw.of(_NOUNS)}"  # fmt: skip

    def _adjective() -> str:
        word = draw.of(_ADJECTIVES)
        return f"{word} " if draw.chance(0.6) else ""

    kind = draw.below(8)
    if kind <= 2:
        text = f"{thing()} {draw.of(_VERBS)} {thing()}"
        text += f" {draw.of(_PLACES)}." if draw.chance(0.5) else "."
    elif kind == 3:
        text = f"{draw.of(_ADVERBS)}, {thing()} {draw.of(_VERBS)} {thing()}."
    elif kind == 4:
        text = f"where did {thing()} find {thing()}?" if draw.chance(0.5) else f"does {thing()} like {thing()}?"
    elif kind == 5:
        text = f"{draw.of(('I', 'you', 'we', 'they', 'she', 'he'))} {draw.of(_VERBS)} {draw.of(_NUMBERS)} {draw.of(_ADJECTIVES)} things {draw.of(_PLACES)}."
    elif kind == 6:
        text = f"on {draw.of(_DAYS)} in {draw.of(MONTHS)}, {draw.of(('I', 'you', 'we', 'they', 'she', 'he'))} {draw.of(_VERBS)} {thing()}."
    else:  # words in no order at all: sounds beside each other that sentences have never
        text = " ".join(draw.some([*_ADJECTIVES, *_NOUNS, *_VERBS, *_NUMBERS], 4 + draw.below(3))) + "!"
    return text[0].upper() + text[1:]


@functools.cache
def _program() -> tuple[str, str]:
    """Where espeak-ng is, and which.

    Raises:
        DataError: it is not installed.
    """
    found = shutil.which("espeak-ng")
    if found is None:
        raise DataError(
            "the world espeak needs the program espeak-ng, which is not installed; install it (Debian: apt install "
            "espeak-ng), or give recordings of your own"
        )
    said = subprocess.run([found, "--version"], capture_output=True, text=True, timeout=20, check=False).stdout
    return found, " ".join(said.split()[:4])


def render(line: Line, language: str = "en-us", rate: int = 16000) -> NDArray[np.float32]:
    """A sentence as samples ``(n,)`` at ``rate``.

    Raises:
        DataError: espeak-ng is not installed, or refuses the language.
    """
    import soundfile as sf
    import soxr

    pitch = max(0, min(99, round(line.pitch - _SEMITONE * 12 * math.log2(line.throat))))
    command = [
        _program()[0], "-v", f"{language}+{line.voice.variant}", "-p", str(pitch), "-s", str(round(line.speed / line.throat)),
        "-a", str(line.amplitude), "--stdout", "--stdin",
    ]  # fmt: skip
    done = subprocess.run(command, input=line.text.encode(), capture_output=True, timeout=60, check=False)
    if done.returncode or len(done.stdout) < 100:
        why = done.stderr.decode(errors="replace").strip() or "no sound came"
        raise DataError(f"espeak-ng cannot say {line.text!r} in {language!r}: {why}; see espeak-ng --voices")
    head = bytearray(done.stdout)
    head[40:44] = (len(head) - 44).to_bytes(4, "little")  # to a pipe it cannot write how long it became
    head[4:8] = (len(head) - 8).to_bytes(4, "little")
    samples, own = sf.read(io.BytesIO(bytes(head)), dtype="float32")
    return np.asarray(soxr.resample(samples, own * line.throat, rate, quality="HQ"), np.float32)


def _all(lines: Sequence[Line], language: str, rate: int) -> list[NDArray[np.float32]]:
    """Rendered, or from the user's cache where the same lines were rendered before."""
    digest = hashlib.sha256(repr((_program()[1], list(lines), language, rate)).encode()).hexdigest()[:16]
    path = cache_folder() / f"espeak-{digest}.npz"
    try:
        with np.load(path, allow_pickle=False) as kept:
            return [part.astype(np.float32) / 32767 for part in np.split(kept["samples"], kept["ends"][:-1])]
    except (OSError, ValueError, KeyError):
        pass
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        made = list(pool.map(lambda line: render(line, language, rate), lines))
    levels = [np.rint(x.clip(-1, 1) * 32767).astype(np.int16) for x in made]
    beside = path.with_name(f"{path.stem}.{os.getpid()}.npz")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez(beside, samples=np.concatenate(levels), ends=np.cumsum([len(x) for x in levels]))
        beside.replace(path)
    except OSError:
        beside.unlink(missing_ok=True)
    return [x.astype(np.float32) / 32767 for x in levels]


def espeak(
    *, n: int = 120, voices: str = "known", language: str = "en-us", rate: int = 16000, pitch: int = 24,
    throats: int = 1, seed: int = 0,
) -> Dataset:  # fmt: skip
    """Sentences in voices of the program espeak-ng; of each piece ``voice|text`` is known.

    Voices take turns. Speed varies by 12 %, loudness a little, pitch by ``pitch``, so that who speaks does not say how high. Sentences
    of one seed are never those of another seed below 1000, but for chance; a text is one group, so that a held-out one is new.
    What was rendered is kept in the user's cache (about 30 kB a second).

    Args:
        n: recordings.
        voices: a cast (``known``, ``new``, ``others``), or names of its voices, separated by commas.
        language: ``en-us``, ``en-gb`` ...; the sentences are English.
        rate: samples a second.
        pitch: how far up and down a sentence may be moved, in the program's units (5 are about a semitone).
        throats: 1 to 5; of each voice so many, shorter and longer by steps of 7 % (``linda 107`` has formants 7 % higher), so that a
            model hears more voices than the program has (Cooper et al. 2020, arXiv:2005.01245).
        seed: of sentences and of how they are said.
    """
    if n < 1 or rate < 4000 or not 0 <= pitch <= 99 or not 1 <= throats <= len(_THROATS):
        raise DataError(
            f"espeak with n={n}, rate={rate}, pitch={pitch}, throats={throats}: at least 1, at least 4000, 0 to 99, and 1 to "
            f"{len(_THROATS)}"
        )
    everyone = {name: voice for cast in CASTS.values() for name, voice in cast.items()}
    cast = CASTS.get(voices) or {}
    for name in [] if cast else [part.strip() for part in voices.split(",") if part.strip()]:
        if name not in everyone:
            raise DataError(f"no voice called {name!r} in the world espeak{nearest(name, [*everyone, *CASTS])}")
        cast[name] = everyone[name]
    if not cast:
        raise DataError(f"voices is {voices!r}; name a cast ({', '.join(CASTS)}) or voices")
    people = {
        name if k == 1 else f"{name} {100 * k:.0f}": (voice, k)
        for k in _THROATS[:throats]
        for name, voice in cast.items()
    }
    draw, names = Draw(seed + 7919), list(people)
    lines, conds = [], []
    for i, text in enumerate(sentences(n, seed)):
        name = names[i % len(names)]
        voice, throat = people[name]
        high = max(0, min(99, voice.pitch + draw.between(-pitch, pitch)))
        lines.append(
            Line(text, voice, high, round(voice.speed * draw.between(88, 112) / 100), draw.between(70, 120), throat)
        )
        conds.append(f"{name}|{text}")
    made = _all(lines, language, rate)
    items = [
        Item(Sound(x[None], rate), cond, f"sentence {i}", group=cond.partition("|")[2])
        for i, (x, cond) in enumerate(zip(made, conds, strict=True))
    ]
    about = f"English sentences in {len(names)} voices of {_program()[1]}"
    return Dataset("espeak", "audio", items, LICENCE, f"{SOURCE}, and espeak-ng", about,
                   {"voices": names, "texts": [line.text for line in lines]})  # fmt: skip
