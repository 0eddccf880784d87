"""Names, initials and Roman numerals as they are said: a dot and a name behind a letter make it an initial."""

from __future__ import annotations

import pytest

from bottega.codecs._say import spoken_text


@pytest.mark.parametrize(("text", "said"), [
    # middle initials that are numerals, too, behind names that kings have
    ("Robert L. Stevenson", "Robert L Stevenson"),
    ("George V. Higgins", "George V Higgins"),
    ("Francis X. Bushman", "Francis X Bushman"),
    ("Michael I. Jordan", "Michael I Jordan"),
    ("Mark V. Shaney, Mark L. Smith", "Mark V Shaney, Mark L Smith"),
    ("John C. Reilly and Samuel L. Jackson", "John C Reilly and Samuel L Jackson"),
    # several, with and without blanks, A and I among them
    ("George V. A. Smith, George V.H. Smith", "George V A Smith, George V H Smith"),
    ("John F. A. Smith, John F. I. Smith", "John F A Smith, John F I Smith"),
    ("Robert L. C. Smith, Robert L.C. Smith, Robert L.Smith", "Robert L C Smith, Robert L C Smith, Robert L Smith"),
    ("I. M. Pei and J. R. R. Tolkien", "I M Pei and J R R Tolkien"),
    # small words of a name, and letters with accents
    ("Michael I. van Dyke, Charles V. de la Cruz", "Michael I van Dyke, Charles V de la Cruz"),
    ("Andr\u00e9 L. Smith, Robert \u00c9. \u00c9lan", "Andr\u00e9 L Smith, Robert \u00c9 \u00c9lan"),
    ("Louis L'Amour", "Louis L'Amour"),
    # kings: at the end of a sentence, or called so
    ("I met Elizabeth I. She was queen. A king was George V.", "I met Elizabeth the first. She was queen. A king was George the fifth."),
    ("King Charles I. Parliament won.", "King Charles the first. Parliament won."),
    ("Pope John Paul I. Cardinals met.", "Pope John Paul the first. Cardinals met."),
    ("Pius XII. Catholics", "Pius the twelfth. Catholics"),
    ("Henry VIII had six wives, Henry V could win", "Henry the eighth had six wives, Henry the fifth could win"),
    ("Henry V's men, Elizabeth I's reign", "Henry the fifth's men, Elizabeth the first's reign"),
    # things: a dot behind them ends a sentence
    ("Act V. Scene I. Enter Romeo.", "Act five. Scene one. Enter Romeo."),
    ("Ch. V. Introduction", "chapter five. Introduction"),
    ("World War I. Churchill", "World War one. Churchill"),
    ("Mark V, a Mark II, the Mark I. It ran", "Mark five, a Mark two, the Mark one. It ran"),
    ("Title I funds, Section V can wait", "Title one funds, Section five can wait"),
    ("in 'Act V' or 'Act I'", "in Act five or Act one"),
    # I, who speaks
    ("Section I think so", "Section I think so"),
    ("the Book I read, a Part I wrote, the Mark I want", "the Book I read, a Part I wrote, the Mark I want"),
    ("No. I want to know. It is no fig. I think.", "No. I want to know. It is no fig. I think."),
    ("No. V, vol. I, Fig. I shows", "number five, volume one, figure one shows"),
    ("Section I'm in, Part I'll do", "Section I'm in, Part I'll do"),
    ("So did Bob and I. Jordan stayed. When I. Jordan", "So did Bob and I. Jordan stayed. When I. Jordan"),
])  # fmt: skip
def test_an_initial_is_no_numeral_and_i_is_who_speaks(text, said):
    assert spoken_text(text) == said
