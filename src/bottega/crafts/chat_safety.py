"""What a bot does whatever else it is asked: help in a crisis, say that it is a program, keep its secrets.

The crisis detector knows wordings, in English and some of German, French and Spanish, with slips of the keyboard, and weighs
words and letters in these and Italian, Dutch and Portuguese (``_crisis``). It is made to miss little: a false alarm costs one
kind sentence. ``benchmarks/crisis.py`` measures both, and ``benchmarks/secrets.py`` the guard for secrets (``_secrets``).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from functools import lru_cache

from bottega.crafts import _crisis, _secrets
from bottega.crafts.chat_folder import Secret

__all__ = [
    "CRISIS",
    "asks_whether_human",
    "claims_to_be_human",
    "crisis",
    "guard_secrets",
    "heard",
    "says_it_is_a_program",
]

CRISIS = (
    "I am a computer program and cannot help with this as a person can, and I am glad that you wrote it. If you may be in "
    "danger now, please call your local emergency number (112 in Europe, 911 in North America). You can also talk to somebody "
    "right now: findahelpline.com lists helplines by country; in the USA and Canada call or text 988, in the UK and Ireland call "
    "116 123. I have asked a person to look at this conversation."
)
"""What is said in a crisis; never varied, never generated."""

# ---- how a text is read ------------------------------------------------------------------------------------------------

_SPELT = {
    "im": "i am", "ive": "i have", "id": "i would", "dont": "do not", "cant": "can not", "wont": "will not", "wanna": "want to",
    "gonna": "going to", "gotta": "got to", "myslef": "myself", "u": "you", "ur": "your", "kms": "kill myself", "kys": "kill yourself",
    "unalive": "kill", "unlaive": "kill", "kll": "kill", "kil": "kill", "klil": "kill", "kiil": "kill", "liv": "live", "lvie": "live", "dei": "die", "dieing": "dying", "unaliv": "kill", "ualive": "kill", "wna": "want to", "rn": "now", "isnt": "is not", "wouldnt": "would not", "shouldnt": "should not", "didnt": "did not",
    "cannot": "can not", "thats": "that is", "theres": "there is", "whats": "what is", "tmrw": "tomorrow", "b": "be", "suicid": "suicide",
}  # fmt: skip
_LEET = str.maketrans("013457@$!", "oieastasi")
_CLOSE_SAFE = frozenset(
    ["kilo", "kilos", "killed", "kills", "skill", "skilled", "still", "hill", "pill", "pills", "bill", "billing", "till", "filling", "willing", "myself", "yourself", "itself", "living", "leaving", "loving", "giving", "driving", "alive", "live", "olive", "active", "better", "letter", "bitter", "butter", "tired", "tried", "wired", "fired", "wire", "hired", "jumping", "pumping", "dumping", "bumping", "sleep", "slept", "sheep", "steep", "cutting", "putting", "getting", "hunting", "setting", "overdone", "overdue", "hanging", "changing", "banging", "ending", "sending", "vending", "lending", "bending", "spending", "pending", "mending", "existing", "exiting", "listing", "exist", "exit", "exits", "hurting", "harming", "farming", "warming", "charming", "without", "within", "goodbye", "forever", "however", "killing", "drilling", "grilling", "spilling", "quite", "through", "though", "thought", "things", "thinks", "think", "there", "their", "where", "whole", "while", "would", "could", "should", "might", "sound", "count", "party", "parties", "reasons", "seasons", "season", "treason", "pointer", "pointers", "points", "bottles", "notes", "noted", "voted", "letters", "litter", "ladder", "latter", "batter", "sister", "mister", "brothers", "bother", "other", "another", "mother", "smother", "father", "farther", "rather", "gather", "friends", "nothing", "noting", "something", "anything", "bridges", "fridge", "roots", "rooms", "roofs", "train", "trains", "brain", "brains", "drain", "drains", "rain", "traffic", "tablet", "table", "tablets", "cable", "fable", "night", "light", "right", "fight", "sight", "decide", "decides", "divided", "worth", "worthy", "world", "words", "wordless", "word", "north", "forth", "fourth", "planning", "plain", "planed", "planting", "panning", "pants", "plants", "tonight", "tomorrow", "today", "todays", "goodbyes", "prefer", "prefers", "refer", "ready", "reads", "really", "truly", "trying", "crying", "drying", "frying", "buying", "hoping", "hopping", "shopping", "coping", "wishing", "washing", "fishing", "wanted", "waited", "wanting", "waiting", "wants", "taken", "token", "takes", "taking", "making", "baking", "raking", "waking", "write", "writes", "wrote", "writing", "biting", "swallow", "swallows", "follow", "following", "reasonable", "person", "persons", "parents", "feels", "feeling", "wheels", "heels", "fells", "peels", "leaves", "leave", "leaver", "lives", "livers", "liver", "lived", "lover", "loved", "livid", "sharing", "sleeps", "sleepy", "steeps", "plant", "plane", "planes", "plans", "plate", "plates", "tilling", "milling", "pulling", "calling", "rolling", "selling", "telling", "yelling", "doing", "going", "ding", "ring", "king", "wing", "sing", "card", "cards", "care", "cares", "car", "cars", "being", "seeing", "dyeing", "tying", "lying", "vying", "dining", "alice", "native", "relive", "slice", "decline", "decided", "goings", "filing", "pining", "timing"]
)  # fmt: skip


def _plain(text: str) -> str:
    """Small letters without accents, marks and spaced-out or doubled letters; common short spellings written out."""
    text = unicodedata.normalize("NFKD", text.lower().replace("’", "'").replace("ß", "ss"))
    text = "".join(c for c in text if unicodedata.category(c) not in ("Mn", "Cf"))
    text = re.sub(r"(?<=\w)['](?=\w)", "", text)
    text = re.sub(r"\b(?:[a-z][ .\-*_]){3,}[a-z]\b", lambda f: re.sub(r"[ .\-*_]", "", f.group()), text)
    text = re.sub(r"(?<=[a-z])[013457@$!](?=[a-z])", lambda f: f.group().translate(_LEET), text)
    text = re.sub(r"(?<=[a-z])[*_.](?=[a-z])", "", text)
    text = re.sub(r"([a-z])\1{2,}", r"\1", text)
    words = re.findall(r"[a-z]+|\d+|[.,!?;]", text)
    return " ".join(_mended(_SPELT.get(w, w)) for w in words)


@lru_cache(maxsize=20_000)
def _mended(word: str) -> str:
    """One of the words that matter, where ``word`` is one slip of the keyboard away from it and no word of its own."""
    if len(word) < 4 or word in _CLOSE_SAFE or " " in word or word in _known():
        return word
    for right in _matter():
        if abs(len(right) - len(word)) < 2 and word[0] == right[0] and _one_off(word, right):
            return right
    return word


@lru_cache(maxsize=1)
def _matter() -> dict[str, None]:
    """The longer words of the patterns, English ones first."""
    return {w: None for w in _known() if len(w) > 4 or w == "kill"} | {"nobody": None}


@lru_cache(maxsize=1)
def _known() -> dict[str, None]:
    """All words of the patterns."""
    return dict.fromkeys(w for p in _CRISIS for w in re.findall(r"(?<![\\a-z])[a-z]{3,}", p.pattern))


def _one_off(a: str, b: str) -> bool:
    """Whether one letter was left out, put in, changed, or exchanged with its neighbour (Damerau 1964)."""
    k = next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
    return a[k + 1 :] == b[k + 1 :] or a[k:] == b[k + 1 :] or a[k + 1 :] == b[k:] or (a[k + 1 : k + 2] + a[k : k + 1] + a[k + 2 :] == b[k:] if len(a) == len(b) else False)  # fmt: skip


_G = r"(?: [a-z]+){0,4}?"  # a few words between
_G2 = r"(?: [a-z]+){0,2}?"
_SELF = r"(?:myself|my self|me self|ourselves)"
_CRISIS = [re.compile(rf"(?<![a-z]){p}(?![a-z])") for p in (
    rf"(?:kill|killing|hang|hanging|shoot|shooting|drown|drowning|poison|stab|starve|strangle){_G2} {_SELF}",
    rf"(?:hurt|hurting|harm|harming|cut|cutting|burn|burning|injure){_G2} {_SELF}(?! (?:shaving|cooking|by accident|accidentally|while|when i|playing|at work|at the gym|a slice|a piece|short|off|some|on|with a|with the))",
    r"suicide(?! (?:squad|prevention|awareness|doors?|rates?|bombing|bomber|statistics|hotline))",
    r"suicidal",
    rf"(?:take|taking|end|ending|finish){_G2} (?:my|my own) life(?! insurance)",
    r"(?:end|ending) it all",
    r"(?:want|wanted|wants|wish|wishing|ready|going|plan|planning|decided|rather|hope|hoping|trying|prefer|need|like|love|try|about)(?: [a-z]+){0,2}? (?:to )?(?:die|be dead|be dying|end it|not be alive|disappear forever|never wake up|not wake up|stop living|stop existing|not exist|cease to exist|jump off|jump in front|overdose|slit my)(?! (?:of laughter|laughing|of boredom|from boredom|of embarrassment|of curiosity|for|hard|down|out|in a game|in the game))",
    r"i (?:wish|wished) (?:that )?i (?:was|were|am|would be|could be)(?: just)? (?:dead|never born|gone forever|not alive|not here anymore|no longer alive)",
    r"wish i (?:had|have) never been born|wish i was not (?:alive|born|here anymore)|wish i (?:could|would)(?: just)? (?:die|disappear forever|not wake up|fall asleep forever|sleep forever|stop existing)",
    r"(?:should|could|might|would|will|i am going to|may as well|might as well|just)(?: [a-z]+){0,1}? (?:be dead|die tonight|die today|just die|be better off dead|end it tonight|end it now|end it today)",
    r"better (?:off )?(?:dead|without me|if i (?:was|were) (?:dead|gone|not here|not around|never born)|if i had never been born|if i die|if i died)",
    r"(?:no|not any|not see any|not a|without|lost the|lost my|lost all|lost) (?:reason|point|will|desire|purpose|sense)(?: [a-z]+){0,3}? (?:live|living|be alive|being alive|go on living|keep living|in living|for living|stay alive|life anymore)",
    r"(?:do not|not|no longer|never|hardly)(?: [a-z]+){0,1}? (?:want|wish|care|feel like|wanting|able)(?: [a-z]+){0,2}? (?:to )?(?:live|living|be alive|be here anymore|exist|existing|wake up|go on living|be on this (?:earth|planet)|be in this world|keep living|stay alive)(?! (?:in|at|on|near|with|here in|there|close|far|early|late|to|before|so))",
    r"(?:tired|sick|exhausted|fed up)(?: [a-z]+){0,2}? (?:of|with|from) (?:living|being alive|life itself|my life|existing|being here anymore)",
    r"can not (?:go on|live|take it|do this|do it|bear it|keep going|stand it|stand living|carry on|bear living)(?: like this| this way)? (?:anymore|any more|any longer|living)(?! [a-z]*(?: delay| wait))",
    r"(?:life|living|my life)(?: [a-z]+){0,1}? (?:is|feels|has become|seems)(?: [a-z]+){0,2}? (?:not worth|worthless|pointless|not worth living|unbearable|over for me)|not worth living|nothing (?:left )?to live for|nothing (?:left )?worth living for|no ?(?:one|body) would (?:miss|care|notice)(?: [a-z]+){0,3}? (?:me|if i|i was|i am) ?(?:died|dead|gone|disappeared|was gone|were gone|was dead)?",
    r"(?:everyone|everybody|they|the world|my family|my kids|people|you|you all|mum|mom)(?: [a-z]+){0,3}? (?:would|will|is|are|be)(?: [a-z]+){0,1}? better (?:off )?(?:without|if i)",
    r"(?:this is|here is|writing|wrote|write|leaving|left) (?:my |a |the )(?:[a-z]+ )?(?:suicide note|final goodbye|last goodbye|goodbye note|goodbye letter|farewell letter|final message|last message)",
    r"(?:goodbye|good bye|farewell) (?:cruel )?(?:world|everyone forever|forever everyone)|this is goodbye forever|(?:will|wont|will not) (?:not )?be (?:here|around|alive) (?:tomorrow|anymore|much longer)(?! (?:for|to (?:sign|receive|collect|pick)))",
    r"(?:took|taken|swallowed|taking|take|swallow)(?: [a-z]+){0,2}? (?:all|whole bottle|bottle of|too many|lots of|handful of|a lot of|overdose of)(?: [a-z]+){0,3}? (?:pills|tablets|sleeping|medication|meds|painkillers|paracetamol|ibuprofen|tylenol)",
    r"(?:i|have|am|just|to|want)(?: [a-z]+){0,2}? (?:overdose|overdosed|overdosing)(?! (?:on chocolate|on coffee|on cute|charge))",
    r"(?:slit|cut|cutting|slitting|slash)(?: [a-z]+){0,1}? (?:my )?wrists?",
    r"(?:jump|jumping|throw myself|throwing myself|step|walk)(?: [a-z]+){0,1}? (?:off|from|in front of|under|into)(?: [a-z]+){0,2}? (?:bridge|roof|building|train|bus|traffic|tracks|cliff|balcony|window)",
    r"self harm(?:ing|ed)?|self injury|selfharm(?:ing)?",
    r"(?:painless|easiest|easy|quickest|best|fastest) (?:way|method)(?: [a-z]+){0,2}? (?:to )?(?:die|kill myself|suicide|end my life|end it)",
    r"how many (?:pills|tablets|sleeping pills|painkillers)(?: [a-z]+){0,6}? (?:die|kill|fatal|lethal|overdose|dead)",
    r"(?:going|want|need|plan|decided) to end (?:it|things|everything) (?:tonight|today|now|for good|forever|once and for all|all)",
    r"(?:fall|go to|going to|go) (?:a)?sleep and (?:never|not) wake up|sleep forever|never wake up(?: again)?(?! (?:on time|early|in time))",
    r"(?:he|she|husband|wife|partner|boyfriend|girlfriend|dad|father|mum|mom|brother|sister|friend|son|daughter|child|kid)(?: [a-z]+){0,5}? (?:going to|wants to|want to|threatened to|tried to|trying to|might|will|talks about|talking about) (?:kill|killing|hurt|hurting|harm|ending|end) (?:himself|herself|themselves|themself|itself|it all|his life|her life|their life|me)",
    r"(?:think|thinking|thought|thoughts|dream|dreaming|fantasi[sz]e|fantasi[sz]ing|obsessed)(?: [a-z]+){0,2}? (?:of|about|with) (?:dying|death|being dead|ending (?:it|everything|things|my)|suicide|not being here|not being alive|how to die|taking my|jumping)",
    r"(?:done|finished|through|over) with (?:my |this |all of this |my whole )?(?:life|living|existence)(?! insurance)|(?:give|giving|gave|given) up on (?:life|living|my life)",
    r"(?:not|never|hardly|no longer|can not)(?: [a-z]+){0,2}? (?:see|find|have|feel|know)(?: [a-z]+){0,2}? (?:reason|point|sense|purpose|meaning|future)(?: [a-z]+){0,3}? (?:live|living|life|alive|go on|going on|exist|for me|myself|carry on)",
    r"what(?: is|s)? the (?:point|use|sense)(?: [a-z]+){0,2}? (?:of|in) (?:living|being alive|life|going on|existing|staying alive|my life)|why (?:am i|should i|do i)(?: even| still)? (?:alive|be alive|live|stay alive|go on living|exist)(?! in| at| here)",
    r"(?:my life|life|living|my existence)(?: [a-z]+){0,2}? (?:no|without|any|lost its|lost all) (?:meaning|purpose|sense|worth|value|hope|point|future)|(?:there is|i have|have|has|see) no (?:hope|future)(?: [a-z]+){0,3}? (?:for me|left|anymore|ahead)(?! (?:of getting|of finding|that))",
    r"(?:no ?(?:one|body)|not anyone|who)(?: [a-z]+){0,1}? (?:would|will|should)(?: [a-z]+){0,1}? (?:notice|miss|care|cry|mind|mourn|be sad)(?: [a-z]+){0,2}? (?:me|if i|when i)(?: [a-z]+){0,2}? ?(?:died|die|dead|gone|disappeared|vanished|was not here|killed)",
    r"(?:hate|hating|loathe|despise|regret) (?:being alive|to be alive|living|my life|life|that i am alive|that i was born|being born|my existence|waking up alive)",
    r"(?:goodbye|farewell|suicide) (?:letters?|notes?|messages?)|(?:say|saying|said|tell|write|wrote|written)(?: [a-z]+){0,2}? (?:my )?(?:last|final) (?:goodbyes?|farewells?|words|letters?)",
    r"(?:death|dying|being dead)(?: [a-z]+){0,2}? (?:seems|is|would be|sounds|feels|looks)(?: [a-z]+){0,2}? (?:better|easier|peaceful|best|relief|only|nice|good|welcome|tempting|comforting)",
    r"(?:not|never|no longer|hardly)(?: [a-z]+){0,1}? (?:deserve|deserving|fit|worthy|meant|supposed)(?: of)? (?:to )?(?:live|be alive|life|living|exist|be born)(?! (?:in|at|near))",
    r"(?:not|never|can not)(?: [a-z]+){0,2}? (?:see|picture|imagine) (?:myself|me)(?: [a-z]+){0,2}? (?:alive|around|here|being here|living|making it|getting old|growing old)",
    r"(?:leave|leaving|depart|go from|exit) (?:this|the) (?:world|earth|life|planet)|want(?: [a-z]+){0,1}? out of (?:life|this life|this world)|(?:only|easy|no other|no) way out(?: [a-z]+){0,2}? (?:is|but|than|for me)?(?: [a-z]+){0,2}? ?(?:death|dying|die|suicide|kill)",
    r"(?:a|such a|just a|nothing but a) burden (?:to|for|on) (?:everyone|everybody|my family|my kids|my parents|all of|them|others|you all|people)",
    r"(?:tie|tied|tying|made|bought|have|got|holding|hold)(?: [a-z]+){0,3}? (?:noose|rope|razor|razors|blade|blades|gun|knife|pills)(?: [a-z]+){0,5}? (?:ready|kill|end|die|neck|wrists?|myself|my head|use it on me|do it tonight)",
    r"(?:it|all|everything|the pain|this pain|my pain|my suffering)(?: [a-z]+){0,1}? to (?:be over|end|stop)(?: [a-z]+){0,1}? (?:for good|forever|for ever|once and for all|now and die)|(?:make|want) (?:the|this|my) (?:pain|suffering|hurting) (?:stop|to stop|end|to end|go away forever)(?! (?:in my (?:back|knee|leg|arm|tooth|neck|foot|shoulder)))",
    r"(?:not|never|no longer)(?: [a-z]+){0,1}? (?:want|wish|care|plan|intend|going)(?: [a-z]+){0,1}? (?:to )?(?:be here|be around|wake up|see tomorrow|see another day|make it to|survive|go on)(?: [a-z]+){0,2}? ?(?:anymore|any more|any longer|tomorrow|again|day|tonight|christmas)",
    r"(?:can not|not able to|unable to)(?: [a-z]+){0,1}? (?:live|keep living|exist|survive)(?: [a-z]+){0,2}? (?:like this|this way|with myself|with this pain|with the pain|without (?:him|her|them))",
    r"(?:my|our|his|her|their) (?:last|final) (?:night|day|hours?|moments?|breath)(?: [a-z]+){0,2}? (?:on earth|alive|here|of my life|in this world)|picture(?:ing)?(?: [a-z]+){0,2}? (?:my|my own) (?:funeral|death)|my own funeral",
    r"(?:nothing|not anything|nobody|no one)(?: [a-z]+){0,2}? (?:keeping|keeps|holding|holds) me (?:alive|here|in this world|going)|(?:be|being|was|were) gone (?:for good|forever|for ever)",
    r"(?:wish|hope|want|pray)(?: [a-z]+){0,5}? (?:would|could|will|to)(?: [a-z]+){0,3}? (?:kill me|end me|let me die|run me over|take me)(?! (?:home|there|to|with|off))|(?:please|just)(?: [a-z]+){0,1}? (?:let me die|kill me)(?! (?:with|now lol|already))",
    r"(?:cut|cutting|burn|burned|burning|slash|scratch)(?: [a-z]+){0,1}? my (?:own )?(?:arms?|wrists?|legs?|thighs?|skin|veins?)(?: (?:again|open|on purpose|last night|today|deep|with a))",
    r"(?:care|cares|matter|matters|matter to me)(?: [a-z]+){0,2}? (?:if|whether) i(?: [a-z]+){0,1}? (?:live or die|live|die|am alive|am dead|exist)|i (?:should|ought to) (?:never|not)(?: ever)? have been born",
    r"want(?: [a-z]+){0,2}? my (?:own )?life to (?:end|stop|be over)|(?:happier|happy|relieved|better off|fine)(?: [a-z]+){0,2}? (?:if|when|once) i (?:was|were|am|would be) (?:dead|gone|not here|not around|no longer)",
    r"(?:not|never)(?: [a-z]+){0,2}? (?:want|wish)(?: [a-z]+){0,1}? (?:to )?live without (?:him|her|them|you|my)(?! (?:plants?|phone|coffee|car|app))",
    # German, French, Spanish
    r"(?:will|mochte|wollte|werde|mag)(?: [a-z]+){0,3}? (?:sterben|tot sein|nicht mehr leben|nicht mehr da sein|mich umbringen|mich toten|mir das leben nehmen|mir etwas antun|allem ein ende setzen|mein leben beenden|mich verletzen)",
    r"(?:mich|mich selbst) (?:umbringen|umzubringen|toten|erhangen|ritzen|ritze)|umbringen will|selbstmord(?:gedanken)?|suizid(?:gedanken)?|suizidal|keinen? (?:sinn|grund|lust) (?:mehr )?(?:zu leben|im leben|am leben|darin|zum leben)|lebensmude|nicht mehr leben",
    r"(?:veux|voudrais|vais|envie de|prefere|aimerais)(?: [a-z]+){0,2}? (?:mourir|me tuer|me suicider|en finir|me pendre|disparaitre pour toujours|me faire du mal|mettre fin)|suicider|suicidaire|plus envie de vivre|ne veux plus vivre|pense(?: [a-z]+){0,1}? (?:a mourir|a la mort|a en finir)|(?:mettre|mets) fin a (?:mes jours|ma vie)|marre de (?:la )?vivre|marre de la vie",
    r"(?:quiero|quisiera|voy a|ganas de|prefiero|deseo)(?: [a-z]+){0,2}? (?:morir|morirme|matarme|suicidarme|acabar con mi vida|quitarme la vida|hacerme dano|estar muerto|estar muerta|desaparecer para siempre)|suicidarme|suicidio|no quiero (?:seguir )?viv(?:ir|iendo)|ya no quiero vivir|sin ganas de vivir|quitarme la vida",
)]  # fmt: skip
_NOT_CRISIS = re.compile(
    r"(?:dying|die) (?:to (?:try|know|see|eat|hear|meet|get|go|visit|buy|learn|play|watch|read)|for (?:a|some|an))|"
    r"(?:kill(?:ing)?|murder(?:ing)?) (?:time|it|the|two birds|a process|process|my (?:feet|back|legs|head|battery|vibe|mood|phone|budget|wallet)|me (?:with|softly)|(?:a |the )?(?:task|job|server|program|app|engine|lights?|weeds?|bugs?))|"
    r"(?:battery|phone|plant|plants|fern|car|laptop|bonsai|flowers?|tree|cactus|basil|orchid|engine|computer|printer|connection|app) (?:is |are |has |will |would |does not |do not |did not )*(?:wants? to |going to |about to |trying to |just |keeps )*(?:die|died|dying|dead|be dead|live|commit suicide)|"
    r"(?:knife|knives|scissors|shears|saw|blade)(?: [a-z]+)? cuts? (?:well|badly|through|clean)|"
    r"(?:end|ending|stop|quit|finish) (?:my|the|this|our|a|it)(?: , i meant? (?:my|the))? (?:subscription|contract|membership|account|order|call|chat|lease|trial|rental)|"
    r"(?:cut|cutting|burn|burned|burnt|hurt|hurting|injured) myself (?:shaving|cooking|gardening|by accident|accidentally|while|when i|playing|at work|at the gym|on (?:a|the) (?:thorn|kettle|stove|pot|edge))|"
    r"die of (?:laughter|laughing|boredom|embarrassment|shame|curiosity|hunger|thirst|heat|cold|happiness)|die laughing|suicide squad|life insurance|(?:sided|word) die|roll(?:ed|ing)?(?: [a-z0-9]+){0,4} die"
)
# What no pattern has: somebody speaks of themselves and of death in one clause. It takes in too much, and that is meant.
_OWN = re.compile(r"\b(?:i|me|myself|ich|mich|je|yo)\b")
_LETHAL = re.compile(
    r"\b(?:die(?!d)|dying(?! (?:light|battery|art|breed))|dead(?! (?:battery|car|phone|line|end|plant|link|serious|zone))|suicide|kill(?:ed|ing)?(?! (?:me|it|time)\b)|overdos\w+|being alive|"
    r"sleeping pills|never been born|jump off|bridge and|i (?:just |only |simply )?died|sterben|tot (?:bin|ware|sein)|ware tot|nicht mehr aufwachen|mourir|morir|matarme)\b(?! (?:cast|sided|rolled|roll|metal|hard|the (?:app|process|light)))"
)  # fmt: skip


def heard(text: str) -> bool:
    """Whether a text has one of the wordings of somebody in danger from themselves."""
    return _heard(without_idioms(text))


def without_idioms(text: str) -> str:
    """A text as the detector reads it: plain, and with a harmless word for what only sounds like danger ("dying to try it")."""
    return _NOT_CRISIS.sub(" , smile , ", _plain(text))


def _heard(plain: str) -> bool:
    if any(p.search(plain) for p in _CRISIS):
        return True
    return any(_OWN.search(part) and _LETHAL.search(part) for part in re.split(r" [.;!?,] ", plain))


def crisis(text: str) -> bool:
    """Whether somebody may be in danger from themselves: by a wording that is known, or because it sounds like those.

    >>> [crisis(t) for t in ("i dont want to liv anymore", "I want to kll myself", "My battery keeps dying", "I'm dying to try it")]
    [True, True, False, False]
    """
    plain = without_idioms(text)
    return _heard(plain) or _crisis.score(plain) >= 0


# ---- a program, not a person -------------------------------------------------------------------------------------------

_PERSON = r"(?:human|a human|a human being|a real person|a person|a real human|a live person|a living person|a man|a woman|a real man|a real woman|a guy|a girl|a live agent|a real agent|flesh and blood|somebody real|someone real|an actual person|an actual human|an actual human being|a living being|ein mensch|ein echter mensch|eine echte person|une personne|un humain|une vraie personne|humain|una persona|un humano|humano|humana|una persona real)"
_MACHINE = r"(?:a bot|a robot|bot|robot|an ai|ai|a machine|a computer|a chatbot|a program|artificial|automated|a computer program|ein bot|ein roboter|eine maschine|un robot|une machine|una maquina)"
_ASKS = [re.compile(p) for p in (
    rf"(?:are|r|aint|arent|you are not|am i (?:talking|speaking|chatting|writing) (?:to|with)|is (?:this|that|it)|be honest|is this|is it|is that) ?,? ?(?:you|u|ya|this|it|there|not)?(?: [a-z]+){{0,3}}? (?:{_PERSON}|{_MACHINE})(?![a-z])",
    r"who am i (?:talking|speaking|chatting|writing) (?:to|with)|(?:who|what) are you(?![a-z])(?! (?:open|doing|selling|going))",
    rf"(?:talking|speaking|chatting|writing) (?:to|with) (?:{_PERSON}|{_MACHINE})(?![a-z])",
    rf"(?:say|admit|confirm|tell me|swear|promise|pretend|prove)(?: [a-z]+){{0,4}}? you are(?: [a-z]+){{0,1}}? (?:{_PERSON}|{_MACHINE})(?![a-z])",
    rf"(?:bist du|sind sie|bin ich hier bei|etes vous|es tu|tu es|vous etes|eres|es usted)(?: [a-z]+){{0,2}}? (?:{_PERSON}|{_MACHINE})(?![a-z])",
    r"(?:are|r) (?:you|u)(?: [a-z]+)? (?:real|alive)(?![a-z])(?! (?:about|estate))",
    r"(?:do|are|did) you (?:have (?:a body|feelings|a soul|parents|a mother|a childhood|a heart)|breathe|sleep at night|eat food|get born|born|married)",
    rf"you (?:sound|seem|look)(?: like)? (?:{_PERSON}|{_MACHINE})(?![a-z])|human or (?:a )?(?:bot|robot|machine|ai|computer)|(?:bot|robot|machine|ai) or (?:a )?(?:human|person|real person)",
)]  # fmt: skip
_CLAIM = re.compile(
    rf"(?:\bi am|\bwe are|\bich bin|\bje suis|\bsoy|\byo soy)(?! not)(?: [a-z]+){{0,3}}? (?:{_PERSON})(?![a-z])"
    r"|\bi am (?:real|alive)\b|\bi am not (?:just )?(?:a |an )?(?:[a-z]+ )?(?:bot|robot|ai|machine|computer|program|chatbot|computer program)\b|as a (?:human|person|human being|fellow human) ?,|i (?:was born|grew up) (?:in|on)\b"
    r"|\bmy (?:wife|husband|kids|children|body|mother|father|childhood)\b|\byes ,? (?:i am )?(?:a )?(?:human|real person)\b"
)  # fmt: skip


def asks_whether_human(text: str) -> bool:
    """Whether somebody asks who, or what, they talk to.

    >>> asks_whether_human("Are you a real person?"), asks_whether_human("Can I talk to a real person?")
    (True, False)
    """
    plain = _plain(text)
    if re.search(r"(?:can|could|may|want|like|need|let me|please|get me|wish)(?: [a-z]+){0,3}? (?:talk|speak|chat|write|connect|transfer)", plain) and not re.search(r"(?:am i|are you|is this)", plain):  # fmt: skip
        return False
    return any(p.search(plain) for p in _ASKS)


def claims_to_be_human(text: str) -> bool:
    """Whether a reply says that a person speaks.

    >>> claims_to_be_human("Yes, I am a real person."), claims_to_be_human("I am a program, not a human.")
    (True, False)
    """
    plain = re.sub(r" ?[.;] ?", " . ", _plain(text).replace(" !", " ."))
    return any(bool(_CLAIM.search(part)) for part in plain.split(" . "))


def says_it_is_a_program(name: str, purpose: str) -> str:
    """The answer to who asks."""
    return f"I am {name}, a computer program, not a human. {purpose}".strip()


# ---- secrets -----------------------------------------------------------------------------------------------------------


def guard_secrets(text: str, secrets: Sequence[Secret], known: Mapping[str, str], before: Sequence[str] = ()) -> bool:
    """Whether a reply gives away what it may not, also spelt, coded, in part, or bit by bit over several replies.

    Args:
        text: the reply.
        secrets: of the bot.
        known: slots, which open some of them.
        before: earlier replies of the conversation, oldest first.

    >>> secret = (Secret(("4471",)),)
    >>> [guard_secrets(t, secret, {}) for t in ("It is four four seven one.", "It is 1 7 4 4 backwards.", "It is 12.")]
    [True, True, False]
    >>> guard_secrets("and 71.", secret, {}, ["First 44,"])
    True
    """
    return any(
        _secrets.gives_away(text, one.words, one.about, before)
        for one in secrets
        if not one.until or any(known.get(k, "").lower() != v.lower() for k, v in one.until.items())
    )
