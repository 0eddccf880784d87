"""Beams, drafts, unequal rows, stops, notes: what the engine makes, against plain ways of making it."""

import itertools
import math

import pytest
import torch

from bottega.core import Batch, RecipeError, Rng, Spec
from bottega.families.gpt import GPT
from bottega.samplers.beam import search
from bottega.samplers.decode import decode
from bottega.samplers.speculative import Lookup, ModelDraft
from bottega.samplers.steps import CachedStep
from bottega.samplers.texts import Stops, Writer, stop_strings
from bottega.samplers.tokens import Notes, generate, repeats

VOCAB = 11


def gpt(length=40, vocab=VOCAB, sharp=8.0, seed=0, **options):
    torch.manual_seed(seed)
    model = GPT(Spec((length,), vocab=vocab), **{"size": 2, "width": 32, **options})
    with torch.no_grad():
        model.embed.weight.mul_(sharp)
    return model


def unequal(lengths=(3, 9, 1, 6), vocab=VOCAB):
    x = Rng(3).integers(vocab, len(lengths), max(lengths))
    mask = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
    return Batch(x.masked_fill(~mask, vocab - 1), mask=mask)


def everything(batch):
    return torch.ones_like(batch.x, dtype=torch.bool)


KNOBS = [
    {},
    {"temperature": 0},
    {"temperature": 0.7, "top_k": 4},
    {"top_p": 0.8, "repetition_penalty": 1.3},
    {"frequency_penalty": 0.7, "presence_penalty": 0.3},
    {"no_repeat": 2},
    {"stop": 4, "min_new": 3},
    {"lookup": 3},
    {"lookup": 4, "temperature": 0.3, "stop": 4},
]


@pytest.mark.parametrize("knobs", KNOBS, ids=str)
@pytest.mark.parametrize("max_new", [8, 70], ids=["in the window", "beyond it"])
def test_a_row_of_an_unequal_batch_is_the_row_alone(knobs, max_new):
    model, batch, seeds = gpt(), unequal(), [5, 6, 7, 8]
    together = model.edit(batch, everything(batch), Rng.for_rows(seeds), max_new=max_new, **knobs)
    assert together.shape == (4, 9 + max_new)
    assert torch.equal(together[:, :9], batch.x)
    for i, seed in enumerate(seeds):
        alone = Batch(batch.x[i : i + 1, : int(batch.mask[i].sum())])
        row = model.edit(alone, everything(alone), Rng.for_rows([seed]), max_new=max_new, **knobs)
        assert torch.equal(row[0, alone.x.shape[1] :], together[i, 9:]), i


def test_a_prompt_longer_than_the_window_among_short_ones():
    model, batch = gpt(length=12), unequal((30, 4, 12, 1))
    knobs = {"max_new": 9, "overflow": "slide"}
    together = model.edit(batch, everything(batch), Rng.for_rows([1, 2, 3, 4]), **knobs)
    for i in range(4):
        alone = Batch(batch.x[i : i + 1, : int(batch.mask[i].sum())])
        row = model.edit(alone, everything(alone), Rng.for_rows([i + 1]), **knobs)
        assert torch.equal(row[0, alone.x.shape[1] :], together[i, 30:]), i
    with pytest.raises(RecipeError, match="30 tokens, but this model sees 11"):
        model.edit(batch, everything(batch), Rng(0), max_new=9)
    with pytest.raises(RecipeError, match="overflow is 'cut'"):
        model.edit(batch, everything(batch), Rng(0), max_new=9, overflow="cut")


@pytest.mark.parametrize("knobs", [{"temperature": 0}, {}, {"temperature": 0.5, "top_k": 5, "stop": 3}], ids=str)
@pytest.mark.parametrize("guess", ["lookup", "model", "same model"])
def test_drafts_change_no_token(guess, knobs):
    model, batch, n, more = gpt(), unequal(), 4, 60
    plain = model.edit(batch, everything(batch), Rng.for_rows(range(n)), max_new=more, **knobs)
    draft = Lookup() if guess == "lookup" else ModelDraft(gpt(seed=0 if guess == "same model" else 1).step(n))
    parts = list(
        model.stream(n, Rng.for_rows(range(n)), None, batch, everything(batch), draft=draft, max_new=more, **knobs)
    )
    assert torch.equal(torch.cat(parts, 1), plain)


def test_good_drafts_save_steps():
    model, x = gpt(length=64), torch.tensor([[1, 2, 3]])
    whole = {"temperature": 0, "max_new": 40}
    counts = {}
    for name, draft in (("none", None), ("same", ModelDraft(gpt(length=64).step(1))), ("lookup", Lookup())):
        step = model.step(1)
        calls = []
        read = step.reader
        step.reader = lambda *a, read=read, calls=calls: calls.append(1) or read(*a)
        given = torch.nn.functional.pad(x, (0, 40))
        keep = torch.arange(43)[None] < 3
        list(decode(step, given, keep, Rng(0), draft=draft, temperature=whole["temperature"]))
        counts[name] = len(calls)
    assert counts["none"] == 40
    assert counts["same"] <= 14
    assert counts["lookup"] < 40


def test_drafted_draws_follow_the_model():
    """All texts of three tokens over a vocabulary of three: chi-squared of drafted draws against exact probabilities."""
    model, n = gpt(length=8, vocab=3), 6000
    every = torch.tensor(list(itertools.product(range(3), repeat=3)))
    p = model.log_prob(Batch(every), Rng(0)).exp().double().detach()
    draft = ModelDraft(gpt(length=8, vocab=3, seed=1).step(n))
    made = torch.cat(list(model.stream(n, Rng(1), draft=draft, max_new=3)), 1)
    counts = torch.bincount((made * torch.tensor([9, 3, 1])).sum(1), minlength=27).double()
    statistic = float(((counts - n * p) ** 2 / (n * p)).sum())
    assert statistic < 26 + 5 * math.sqrt(52)


def best_of_all(model, prompt, more, penalty, stop):
    """Every text that ends with its first stop or at ``more`` tokens, with its score."""
    found = {}
    for tail in itertools.product(range(model.spec.vocab), repeat=more):
        cut = tail[: tail.index(stop) + 1] if stop in tail else tail
        found[cut] = None
    scores = {}
    for cut in found:
        row = torch.tensor([[*prompt, *cut]])
        total = model.log_prob(Batch(row), Rng(0)) - model.log_prob(Batch(row[:, : len(prompt)]), Rng(0))
        scores[cut] = float(total) / len(cut) ** penalty
    return sorted(scores.items(), key=lambda pair: -pair[1])


@pytest.mark.parametrize("penalty", [0.0, 1.0, 2.0, -0.5])
@torch.no_grad()
def test_wide_beams_find_what_exhaustive_search_finds(penalty):
    model, prompt = gpt(length=10, vocab=4, sharp=4.0), [1, 2]
    truth = best_of_all(model, prompt, 4, penalty, stop=3)
    found = search(model.step(1), torch.tensor([prompt]), 4, beams=64, length_penalty=penalty, stop=3)[0]
    for f, (tokens, score) in zip(found[:20], truth[:20], strict=True):
        assert math.isclose(f.score, score, abs_tol=1e-4)
        assert tuple(f.tokens) == tokens or any(math.isclose(score, s, abs_tol=1e-4) for t, s in truth if t != tokens)


def test_more_beams_find_likelier_texts_and_one_beam_is_greedy():
    model = gpt()
    x = torch.tensor([[1, 2, 3]])
    keep = torch.ones_like(x, dtype=torch.bool)
    greedy = model.edit(Batch(x), keep, Rng(0), max_new=12, temperature=0)
    assert search(model.step(1), x, 12, beams=1)[0][0].tokens == greedy[0, 3:].tolist()
    scores = [search(model.step(1), x, 12, beams=b)[0][0].logprob for b in (1, 8)]
    assert scores[1] >= scores[0]
    several = model.edit(Batch(x.repeat(3, 1)), keep, Rng(0), max_new=12, beams=5)
    assert len({tuple(row) for row in several.tolist()}) == 3
    with pytest.raises(RecipeError, match="3 versions"):
        model.edit(Batch(x.repeat(3, 1)), keep, Rng(0), max_new=12, beams=2)
    with pytest.raises(RecipeError, match="top_k means nothing"):
        model.edit(Batch(x), keep, Rng(0), max_new=12, beams=2, top_k=3)


def diverse(model, prompt, more, beams, groups, strength):
    """Algorithm 1 of Vijayakumar et al., written as slowly as it is said; no stop token."""
    width = beams // groups

    def after(tokens):
        return model.step(1)(torch.tensor([[*prompt, *tokens]]))[0].double().log_softmax(-1)

    state = [[((), 0.0)] for _ in range(groups)]
    for _ in range(more):
        for g in range(groups):
            earlier = [line[-1] for before in state[:g] for line, _ in before]
            options = []
            for line, total in state[g]:
                logp = after(line)
                for token in range(model.spec.vocab):
                    value = total + float(logp[token])
                    options.append((value - strength * earlier.count(token), (*line, token), value))
            options.sort(key=lambda o: -o[0])
            state[g] = [(line, value) for _, line, value in options[:width]]
    return state


@torch.no_grad()
def test_groups_of_beams_avoid_each_other_as_the_paper_says():
    model, prompt = gpt(vocab=6), [1, 2, 3]
    for strength in (0.5, 3.0):
        truth = diverse(model, prompt, 5, 6, 3, strength)
        found = search(
            model.step(1), torch.tensor([prompt]), 5, beams=6, beam_groups=3, diversity=strength, length_penalty=0.0
        )
        ours = [tuple(f.tokens) for f in found[0]]
        for g in range(3):
            assert set(ours[2 * g : 2 * g + 2]) == {line for line, _ in truth[g]}
    with pytest.raises(RecipeError, match="beam_groups=4"):
        search(model.step(1), torch.tensor([prompt]), 5, beams=6, beam_groups=4)


@pytest.mark.parametrize("penalty", [0.0, 1.0, 1.7])
@torch.no_grad()
def test_beams_are_those_of_transformers(penalty):
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(1)
    config = transformers.GPT2Config(
        vocab_size=20, n_positions=64, n_embd=32, n_layer=2, n_head=2, bos_token_id=None, eos_token_id=7, pad_token_id=7,
        initializer_range=0.4,
    )  # fmt: skip
    model = transformers.GPT2LMHeadModel(config).eval()
    prompt = torch.randint(0, 7, (3, 5))
    theirs = model.generate(
        prompt, attention_mask=torch.ones_like(prompt), num_beams=4, num_return_sequences=4, max_new_tokens=12, do_sample=False,
        length_penalty=penalty, early_stopping="never", return_dict_in_generate=True, output_scores=True,
    )  # fmt: skip

    class Whole:
        """The model without a cache."""

        def __init__(self):
            self.text = torch.zeros(3, 0, dtype=torch.long)

        def take(self, rows):
            self.text = self.text[rows]

        def __call__(self, fresh):
            self.text = torch.cat([self.text, fresh], 1)
            return model(self.text).logits[:, -1]

    ours = search(Whole(), prompt, 12, beams=4, length_penalty=penalty, stop=7)
    rows = theirs.sequences[:, 5:].view(3, 4, -1).tolist()
    scores = theirs.sequences_scores.view(3, 4).tolist()
    for i in range(3):
        for found, row, score in zip(ours[i], rows[i], scores[i], strict=True):
            cut = row[: row.index(7) + 1] if 7 in row else row
            assert found.tokens == cut
            assert math.isclose(found.score, score, abs_tol=1e-4)


def test_log_probabilities_are_the_models():
    model, batch, notes = gpt(), unequal(), Notes(top=3)
    knobs = {"temperature": 0.6, "top_k": 5, "repetition_penalty": 1.2}
    made = torch.cat(list(model.stream(4, Rng(0), None, batch, everything(batch), (), notes, max_new=7, **knobs)), 1)
    for i in range(4):
        size = int(batch.mask[i].sum())
        row = torch.cat([batch.x[i, :size], made[i, 9:]])[None]
        with torch.no_grad():
            whole = model.log_prob(Batch(row), Rng(0)) - model.log_prob(Batch(row[:, :size]), Rng(0))
        assert notes.tokens[i] == made[i, 9:].tolist()
        assert math.isclose(sum(notes.logprobs[i]), float(whole), abs_tol=1e-3)
        for token, logprob, best in zip(notes.tokens[i], notes.logprobs[i], notes.likeliest[i], strict=True):
            assert [p for _, p in best] == sorted((p for _, p in best), reverse=True)
            assert dict(best).get(token, logprob) == logprob
        assert notes.finish[i] == "length"


@pytest.mark.parametrize(
    "knobs",
    [{"beams": 4}, {"beams": 6, "beam_groups": 3, "diversity": 2.0}, {"beams": 4, "stop": 4},
     {"beams": 4, "repetition_penalty": 1.4, "frequency_penalty": 0.5}],
    ids=str,
)  # fmt: skip
def test_log_probabilities_of_beams_are_the_models_too(knobs):
    model, x, notes = gpt(), torch.tensor([[1, 2, 3], [1, 2, 3], [5, 1, 7]]), Notes(top=3)
    keep = torch.ones_like(x, dtype=torch.bool)
    made = torch.cat(list(model.stream(3, Rng(0), None, Batch(x), keep, (), notes, max_new=9, **knobs)), 1)
    assert notes.tokens[0] != notes.tokens[1], "the second of one beginning is another beam"
    for i in range(3):
        tokens = notes.tokens[i]
        assert tokens == made[i, 3 : 3 + len(tokens)].tolist()
        assert notes.finish[i] == ("end" if tokens[-1] == knobs.get("stop") else "length")
        assert len(notes.logprobs[i]) == len(notes.likeliest[i]) == len(tokens)
        for k in range(len(tokens)):  # scored again, place by place, from the text alone
            with torch.no_grad():
                plain = model.step(1)(torch.tensor([[*x[i].tolist(), *tokens[:k]]]))[0].log_softmax(-1)
            assert math.isclose(notes.logprobs[i][k], float(plain[tokens[k]]), abs_tol=1e-4), (i, k)
            best = plain.topk(3)
            assert [t for t, _ in notes.likeliest[i][k]] == best.indices.tolist()
            assert [p for _, p in notes.likeliest[i][k]] == pytest.approx(best.values.tolist(), abs=1e-4)
    bare = Notes()
    list(model.stream(3, Rng(0), None, Batch(x), keep, (), bare, max_new=9, **knobs))
    assert bare.logprobs == notes.logprobs, "how many of the likeliest are noted changes nothing else"
    assert not any(map(any, bare.likeliest))
    assert search(model.step(1), x[:1], 4, beams=2)[0][0].logprobs == [], "nothing is noted that nobody asked for"


def test_no_run_comes_twice():
    for size in (1, 2, 3):
        out = gpt().sample(5, Rng(1), max_new=30 if size > 1 else 10, no_repeat=size, temperature=0.5)
        for row in out.tolist():
            runs = [tuple(row[i : i + size]) for i in range(len(row) - size + 1)]
            assert len(set(runs)) == len(runs)
    text = torch.tensor([[1, 2, 1, -1], [1, 1, 1, 1]])
    assert repeats(text, torch.tensor([3, 4]), 2, 4).int().tolist() == [[0, 0, 1, 0], [0, 1, 0, 0]]


def test_frequency_and_presence_as_openai_defines_them():
    """A step with equal logits: after k of a token its odds are exp(-k f - p), the prompt not counted."""
    given = torch.tensor([[2, 2, 2, 0, 0, 0, 0]])
    keep = torch.arange(7)[None] < 3
    tokens = list(generate(lambda fresh: torch.tensor([[3.0, 1.0, 0.0]]), given, keep, Rng(0), temperature=0,
                           frequency_penalty=1.0, presence_penalty=0.5))  # fmt: skip
    seen = torch.cat(tokens, 1)[0, 3:].tolist()
    assert seen == [0, 0, 1, 0]  # 3, then 1.5, then 0.5 against 1, then 0.5 against -0.5
    more = torch.cat(list(generate(lambda fresh: torch.tensor([[0.0, 0.1]]), given[:, :0].expand(1, 0).new_zeros(1, 4),
                                   torch.zeros(1, 4, dtype=torch.bool), Rng(0), temperature=0, presence_penalty=-1.0)), 1)  # fmt: skip
    assert more[0].tolist() == [1, 1, 1, 1]


def test_min_new_holds_the_stop_back():
    free = gpt().sample(200, Rng(0), max_new=12, stop=4)
    held = gpt().sample(200, Rng(0), max_new=12, stop=4, min_new=5)
    assert (free[:, :5] == 4).any()
    assert not (held[:, :5] == 4).any()
    assert (held[:, 5:] == 4).any()
    with pytest.raises(RecipeError, match="min_new=-1"):
        gpt().sample(1, Rng(0), min_new=-1)


def test_rows_that_are_done_are_read_no_more():
    model = gpt()
    step = model.step(40)
    sizes = []
    read, step.reader = step.reader, lambda tokens, *a: sizes.append(len(tokens)) or read(tokens, *a)
    given, keep = torch.zeros(40, 40, dtype=torch.long), torch.zeros(40, 40, dtype=torch.bool)
    out = torch.cat(list(generate(step, given, keep, Rng(0), stop=4)), 1)
    assert torch.equal(out, model.sample(40, Rng(0), stop=4))
    assert sizes[0] == 40
    assert sizes[-1] <= 20


def test_versions_of_a_prompt_read_it_once():
    model, x = gpt(), Rng(3).integers(VOCAB, 1, 12).repeat(6, 1)
    sizes = []
    step = model.step(6)
    read, step.reader = step.reader, lambda tokens, *a: sizes.append(tokens.shape) or read(tokens, *a)
    step(x)
    step(x[:, :1])
    assert sizes == [(1, 13), (6, 1)]


BYTES = [bytes([k]) for k in range(97, 97 + 10)] + [b""]  # a .. j and the end


@pytest.mark.parametrize("stops", [["cd"], ["a", "hij"], ["aa", "bb", "abc", "gg"]], ids=str)
def test_stops_end_rows_and_are_never_written(stops):
    model = gpt(sharp=2.0)
    plain = model.sample(60, Rng(0), max_new=50, stop=10)
    notes = Notes()
    out = torch.cat(
        list(model.stream(60, Rng(0), None, None, None, [Stops(stops, BYTES)], notes, max_new=50, stop=10)), 1
    )
    ended = 0
    for i, (was, now) in enumerate(zip(plain.tolist(), out.tolist(), strict=True)):
        text = "".join(BYTES[t].decode() for t in (was[: was.index(10)] if 10 in was else was))
        ends = [text.find(s) + len(s) for s in stops if s in text]
        expected = text[: min(ends)] if ends else text
        writer = Writer(BYTES, stops, end=10)
        pieces = [writer.push(t) for t in now]
        written = "".join([*pieces, writer.close()])
        stop = next((s for s in stops if expected.endswith(s) and ends), "")
        assert written == expected[: len(expected) - len(stop)]
        assert not any(s in written for s in stops)
        assert notes.finish[i] == ("stop" if ends else "end" if 10 in was else "length") == writer.why
        ended += bool(ends)
    assert ended > 3


def test_whole_characters_and_nothing_that_may_be_a_stop():
    spelling = [bytes([k]) for k in range(256)]
    text = "naïve 日本 🙂 stop…"
    writer = Writer(spelling, ["STOP"])
    shown = [writer.push(b) for b in text.encode()]
    assert "".join(shown) + writer.close() == text
    assert all("�" not in s for s in shown)
    writer = Writer([b"ab\xe2", b"\x82", b"\xacEN", b"D tail"], ["END"])
    assert [writer.push(t) for t in (0, 1, 2, 3, 0)] == ["ab", "", "€", "", ""]
    assert writer.why == "stop"
    writer = Writer(spelling)
    assert writer.push(0xE2) + writer.close() == "�"


@pytest.mark.parametrize(
    ("bad", "says"), [(5, "stop is 5"), ("", "empty"), (["a", 2], "stop is"), ({"a": 1}, "stop is")]
)
def test_stops_that_are_none(bad, says):
    with pytest.raises(RecipeError, match=says) as error:
        stop_strings([bad] if bad == "" else bad)
    assert "\n" not in str(error.value)


def test_a_plain_function_is_drawn_from_but_has_no_beams_or_drafts():
    def step(fresh):
        return torch.zeros(len(fresh), 3)

    given, keep = torch.zeros(2, 4, dtype=torch.long), torch.zeros(2, 4, dtype=torch.bool)
    assert torch.cat(list(decode(step, given, keep, Rng(0))), 1).shape == (2, 4)
    for knobs in ({"beams": 2}, {"lookup": 2}):
        with pytest.raises(RecipeError, match="leave"):
            list(decode(step, given, keep, Rng(0), **knobs))
    assert isinstance(gpt().step(1), CachedStep)
