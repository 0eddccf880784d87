"""The words of questions: which say nothing, which are the same but for their endings, which mean nearly the same."""

from __future__ import annotations

from bottega.crafts.write_summary import words

__all__ = ["IDLE", "NAME", "SAME", "stem", "terms", "ways"]

IDLE = frozenset([
    "a", "an", "the", "of", "in", "on", "at", "to", "for", "from", "by", "with", "as", "is", "are", "was",
    "were", "be", "been", "do", "does", "did", "has", "have", "had", "it", "its", "this", "that", "these",
    "those", "there", "who", "whom", "whose", "when", "where", "why", "how", "what", "which", "many", "much",
    "and", "or", "not", "no", "any", "some", "will", "would", "can", "could", "may", "into", "than", "then",
    "also", "his", "her", "their", "our", "your", "my", "he", "she", "they", "we", "you", "i", "one", "name",
    "called", "s",
])  # fmt: skip
SAME = [{"live", "inhabitant", "people", "population", "resident"}, {"cost", "price", "fee", "pay"}, {"found", "form", "establish", "start"},
         {"build", "built", "construct", "made", "make"}, {"write", "author", "wrote"}, {"lead", "head", "led"}, {"tall", "high", "height"},
         {"long", "length", "take"}, {"deep", "depth"}, {"big", "large", "area", "size"}, {"invent", "discover", "found"}]  # fmt: skip
TITLE = r"(?:Dr|Mr|Mrs|Ms|Sir|Lady|Professor|Captain|Princess|Prince|King|Queen|President|Saint|St)\.?\s"
NAME = rf"(?:{TITLE})?[A-ZÀ-Þ][\w'’-]+(?:\s(?:de|van|von|of|the|la|le)\s[A-ZÀ-Þ][\w'’-]+|\s(?:[A-ZÀ-Þ]\.|[A-ZÀ-Þ][\w'’-]*))*"


def stem(word: str) -> str:
    """A word without its endings, roughly.

    >>> stem("founded"), stem("ships"), stem("rebuilding"), stem("cities")
    ('found', 'ship', 'rebuild', 'city')
    """
    word = word.lower().replace("’", "'").removesuffix("'s")
    for ending, put in (("ies", "y"), ("sses", "ss"), ("ings", ""), ("ing", ""), ("ed", ""), ("es", "e"), ("s", "")):
        if word.endswith(ending) and len(word) - len(ending) >= 3 and not (ending == "s" and word.endswith("ss")):
            word = word.removesuffix(ending) + put
            break
    if len(word) > 4 and word[-1] == word[-2] and word[-1] not in "lsz":
        word = word[:-1]
    return word.removesuffix("e") if len(word) > 4 else word


def terms(text: str) -> list[str]:
    """The stems of the words that say something."""
    return [stem(w) for w in words(text) if w.lower() not in IDLE]


def ways(term: str) -> list[str]:
    """A word and those that say nearly the same."""
    return [term, *sorted({stem(w) for group in SAME if term in {stem(x) for x in group} for w in group} - {term})]
