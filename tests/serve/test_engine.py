"""Continuous batching: each text is to the bit what it is alone, and pages come back whatever happens."""

from __future__ import annotations

import asyncio
import random

import pytest
import torch

from bottega.core import Batch, BottegaError, RecipeError, Rng, Spec
from bottega.families.gpt import GPT
from bottega.nets.pages import PageRow, Pages
from bottega.samplers.rows import Knobs, Rows, choose
from bottega.samplers.tokens import Chooser
from bottega.serve.engine_tokens import STRETCH, Ask, TokenEngine
from bottega.serve.queue import Busy, Post, Queue
from bottega.shrink.quantise import kinds_here, lighten

SPELLING = [b"%c" % k for k in range(33, 96)] + [b""]
END = len(SPELLING) - 1


def model(**changes):
    torch.manual_seed(0)
    settings = {"size": 2, "width": 32, "context": 256} | changes
    made = GPT(Spec((64,), vocab=len(SPELLING)), **settings).eval()
    with torch.no_grad():
        made.embed.weight.mul_(12)  # so that texts differ
    return made


KINDS = {
    "llama": {}, "grouped": {"kv_heads": 1},
    "gpt2": {"norm": "layer", "feed": "gelu_tanh", "positions": "learned", "bias": True, "begins": False},
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("light", [False, True])
def test_a_pass_over_pages_is_the_model(kind, light):
    """Rows of unequal length, prompts in stretches, blocks across: logits as of the whole text at once."""
    whole = model(**KINDS[kind])
    reader = (lighten(whole, "fp32", 16) if light else whole).paged(64, block=8)
    g = torch.Generator().manual_seed(1)
    texts = [torch.randint(END, (n,), generator=g).tolist() for n in (3, 8, 21, 40)]
    rows = [PageRow() for _ in texts]
    got = [[] for _ in texts]
    cuts = [1, 5, 8, 16]
    for row, text, cut in zip(rows, texts, cuts, strict=True):
        begun = reader.begun(text)
        assert reader.pages.fit(row, len(begun))
        while row.length < len(begun) - 2:  # all but two in stretches
            count = min(cut, len(begun) - 2 - row.length)
            reader(begun[row.length : row.length + count], [], [(row, count)], [])
    for k in (2, 1):  # the last two together with the others, one by one
        logits = reader([reader.begun(t)[-k] for t in texts], rows, [], list(range(len(rows))))
        for i in range(len(rows)):
            got[i].append(logits[i])
    for text, found in zip(texts, got, strict=True):
        step = whole.step(1, prompted=True)
        for k, logits in zip((1, 0), found, strict=True):
            wanted = whole.step(1, prompted=True)(torch.tensor([text[: len(text) - k]]))[0]
            assert torch.allclose(logits, wanted, atol=2e-4), (kind, k)
        assert step is not None


@pytest.mark.parametrize(("kind", "threads"), [*((kind, 1) for kind in kinds_here()), ("fp32", 3)])
@pytest.mark.parametrize("settings", [
    {}, {"feed": "geglu", "hidden": 1376, "depth": 1}, KINDS["gpt2"] | {"hidden": 100},
    KINDS["gpt2"] | {"size": 6, "width": 384, "depth": 1},
], ids=["swiglu", "geglu 1376", "gelu 100", "gelu 1536"])  # fmt: skip
def test_a_row_is_to_the_bit_what_it_is_alone(kind, settings, threads):
    """Beside others that read a token or a stretch of their prompt in the same pass."""
    reader = lighten(model(**settings), kind, 16).paged(400, block=16)
    g = torch.Generator().manual_seed(2)
    texts = [torch.randint(END, (int(n),), generator=g).tolist() for n in torch.randint(1, 60, (13,), generator=g)]
    late = [torch.randint(END, (n,), generator=g).tolist() for n in (40, 64, 7)]

    def run(some, beside=()):
        rows, others = [PageRow() for _ in some], [PageRow() for _ in beside]
        for row in (*rows, *others):
            assert reader.pages.fit(row, 200)
        for row, text in zip(rows, some, strict=True):
            reader(text, [], [(row, len(text))], [])
        out, n = [], len(rows)
        for k in range(20):
            reads = [(others[k], len(beside[k]))] if k < len(beside) else []
            tokens = [7] * n + (beside[k] if reads else [])
            out.append(reader(tokens, rows, reads, list(range(n))))
        for row in (*rows, *others):
            reader.pages.release(row)
        return torch.stack(out)

    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        together = run(texts, late)
        for k in (0, 5, 12):
            assert torch.equal(run([texts[k]])[:, 0], together[:, k])
    finally:
        torch.set_num_threads(before)


def test_rows_choose_as_one_row_does():
    """Every mixture of knobs: row by row the token that ``Chooser`` picks."""
    g = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(40, 500, generator=g)
    u = torch.rand(40, generator=g)
    some = random.Random(0)
    knobs = [
        Knobs(some.choice([0, 0.5, 1.0, 1.7]), some.choice([0, 1, 5, 400]), some.choice([1.0, 0.5, 0.95, 0.999]), some.choice([0.0, 0.1]))
        for _ in range(40)
    ]  # fmt: skip
    found = choose(logits, u, Rows(knobs))
    for i, k in enumerate(knobs):
        alone = Chooser(torch.full((1, 4), -1), temperature=k.temperature, top_k=k.top_k, top_p=k.top_p, min_p=k.min_p)
        assert int(alone.choose(torch.tensor([0]), logits[i : i + 1], u[i : i + 1])[0]) == int(found[i]), k
    with pytest.raises(RecipeError, match="top_p"):
        Knobs(top_p=0)


def test_a_draw_does_not_depend_on_its_neighbours():
    """Also where tokens are exactly as likely as each other, as logits in bfloat16 often are."""
    g = torch.Generator().manual_seed(0)
    logits = torch.full((1, 20), -9.0)
    logits[0, [3, 8, 12]], logits[0, 5] = 1.0, 2.0
    rounded = (2 * torch.randn(6, 600, generator=g)).bfloat16().float()
    for row, knobs in [(logits, Knobs(top_k=4, top_p=0.7)), (logits, Knobs(top_p=0.5)), (logits, Knobs(top_k=2))] + [
        (r[None], Knobs(top_k=40, top_p=0.9)) for r in rounded
    ]:
        for other in (Knobs(), Knobs(top_k=10), Knobs(top_k=300, top_p=0.99), Knobs(top_p=0.999), Knobs(temperature=0)):
            for u in torch.linspace(0, 0.999, 25):
                alone = choose(row, u[None], Rows([knobs]))
                beside = choose(torch.cat([row, rounded[:1, : row.shape[1]]]), u.expand(2), Rows([knobs, other]))
                assert alone[0] == beside[0]


def test_tokens_as_likely_as_the_last_that_may_follow_may_follow():
    for knobs in (Knobs(top_k=3), Knobs(top_p=0.3)):
        found = [int(choose(torch.zeros(1, 8), u[None], Rows([knobs]))) for u in torch.linspace(0, 0.999, 50)]
        assert sorted(set(found)) == list(range(8)), knobs


def test_pages_are_lent_and_come_back():
    pages = Pages(1, 1, 4, torch.zeros(0), block=4, limit=5)
    a, b = PageRow(), PageRow()
    assert pages.fit(a, 9)
    assert pages.fit(b, 8)
    assert not pages.fit(b, 9)
    assert b.table == [3, 4]  # nothing was lent
    pages.release(a)
    assert pages.left == 3
    assert pages.fit(b, 20)
    assert b.table == [3, 4, 0, 1, 2]


class Loop:
    """A loop that nobody waits in: events are put where they belong at once."""

    def call_soon_threadsafe(self, call, *args):
        call(*args)


def engine(reader, *, rows=8, limit=100, queue=100, spelling=SPELLING, lead=""):
    made = TokenEngine.__new__(TokenEngine)  # without its thread: steps are taken by hand
    thread, TokenEngine._work = TokenEngine._work, lambda self: None
    try:
        made.__init__(reader, spelling, Queue(queue, "m"), Post(Loop()), rows=rows, lead=lead)
    finally:
        TokenEngine._work = thread
    return made


def drive(made, tickets, steps=2000):
    for _ in range(steps):
        made.step()
        made.post.send()
        if all(t.over for t in tickets):
            return [t.events[-1] for t in tickets]
    raise AssertionError("it does not end")


def asks(n, seed=0, **more):
    g = random.Random(seed)
    return [
        Ask([g.randrange(END) for _ in range(g.randrange(0, 90))], seed=k, max_new=g.randrange(1, 40),
            knobs=Knobs(temperature=g.choice([0, 0.8, 1.0]), top_k=g.choice([0, 7]), frequency_penalty=g.choice([0, 0.4])), end=END, **more)
        for k in range(n)
    ]  # fmt: skip


def test_texts_that_join_and_leave_are_what_they_are_alone():
    light = lighten(model(), "fp32", 16)
    made = engine(light.paged(400, block=16), rows=6)
    wanted = asks(12)
    tickets = []
    for ask in wanted:  # they come one by one, while others run
        tickets += made.submit([ask])
        made.step()
    together = drive(made, tickets)
    for k in range(0, 12, 3):
        alone = drive(made, made.submit([wanted[k]]))[0]
        assert (alone.text, alone.tokens, alone.finish) == (together[k].text, together[k].tokens, together[k].finish)
    assert made.reader.pages.blocks == 0


def test_a_text_is_what_the_family_writes():
    whole = model()
    made = engine(lighten(whole, "fp32", 16).paged(400, block=16))
    prompt, other = [3, 9, 27, 40], [1] * (STRETCH + 9)
    tickets = made.submit([Ask(p, 5, 20, Knobs(temperature=0.9, top_p=0.9), end=END) for p in (prompt, other)])
    for ticket, p in zip(tickets, (prompt, other), strict=True):
        drive(made, [ticket])
        x = torch.tensor([p])
        wanted = whole.edit(Batch(x), torch.ones_like(x, dtype=torch.bool), Rng.for_rows([5]), max_new=20, temperature=0.9, top_p=0.9, stop=END)  # fmt: skip
        made_tokens = wanted[0, len(p) :].tolist()
        end = made_tokens.index(END) + 1 if END in made_tokens else 20
        assert ticket.events[-1].tokens == made_tokens[:end]


def test_a_whole_text_begins_without_the_blank_that_its_first_token_is_spelt_with():
    light = lighten(model(), "fp32", 16)
    texts = {}
    for lead in ("", " "):
        spelt = [b" " + s if s else s for s in SPELLING]
        made = engine(light.paged(400, block=16), spelling=spelt, lead=lead)
        texts[lead] = [drive(made, made.submit([Ask(p, 5, 9, end=END)]))[0].text for p in ([], [3])]
    assert texts[""][0].startswith(" ")
    assert texts[" "] == [texts[""][0][1:], texts[""][1]], "behind a prompt it is a blank between words"


def test_without_pages_the_youngest_waits_and_nothing_is_lost():
    light = lighten(model(), "fp32", 16)
    roomy, tight = engine(light.paged(400, block=8)), engine(light.paged(20, block=8))
    wanted = [Ask([k] * 20, k, 60, end=END, stream=True) for k in range(8)]
    full = drive(roomy, first := roomy.submit(wanted))
    assert len(full) == 8
    drive(tight, second := tight.submit(wanted))
    assert tight.preempted > 0
    assert roomy.preempted == 0
    for a, b in zip(first, second, strict=True):
        said = ["".join(e.text for e in t.events) for t in (a, b)]
        assert said[0] == said[1]  # the same, and nothing said twice
    assert tight.reader.pages.blocks == 0
    with pytest.raises(BottegaError, match="no room"):
        tight.submit([Ask([1] * 100, 0, 100, end=END)])


def test_cancelled_texts_free_their_pages_at_once():
    made = engine(lighten(model(), "fp32", 16).paged(100, block=8), rows=3)
    tickets = made.submit([Ask([k] * 30, k, 100, end=END) for k in range(6)])
    for _ in range(5):
        made.step()
    held = made.reader.pages.blocks
    assert held > 0
    for ticket in tickets[:4]:
        ticket.cancel()
    made.step()
    assert {row.ticket for row in made.running} == set(tickets[4:])
    drive(made, tickets[4:])
    assert made.reader.pages.blocks == 0


def test_long_prompts_do_not_hold_up_running_texts():
    made = engine(lighten(model(), "fp32", 16).paged(400, block=16))
    (short,) = made.submit([Ask([1], 0, 50, Knobs(bias={END: -100}), end=END, stream=True)])
    for _ in range(3):
        made.step()
    made.submit([Ask([2] * 200, k, 1, end=END) for k in range(4)])
    before = len(made.running[0].made)
    for _ in range(6):
        made.step()
    assert len(made.running[0].made) == before + 6  # a token at every step
    assert not short.over


def test_the_queue_is_bounded_and_says_when():
    queue = Queue(3, "m")
    queue.put([1, 2])
    with pytest.raises(Busy, match="ask again") as full:
        queue.put([3, 4])
    assert len(queue) == 2
    assert full.value.after == 1
    queue.speed.count, queue.speed.at, queue.speed.began = (
        10.0,
        queue.speed.at,
        queue.speed.at - 1000,
    )  # half a request a second
    with pytest.raises(Busy) as slow:
        queue.put([3, 4])
    assert 7 <= slow.value.after <= 9
    assert queue.take() == 1
    queue.back(1)
    assert queue.take() == 1


def test_events_reach_the_loop():
    async def go():
        post, queue = Post(asyncio.get_running_loop()), Queue(4, "m")
        made = TokenEngine(lighten(model(), "fp32", 16).paged(50, block=8), SPELLING, queue, post)
        (ticket,) = made.submit([Ask([1, 2, 3], 0, 8, end=END)])
        said = await asyncio.wait_for(ticket.result(), 20)
        await asyncio.to_thread(made.close)
        return said

    assert 1 <= len(asyncio.run(go()).tokens) <= 8
