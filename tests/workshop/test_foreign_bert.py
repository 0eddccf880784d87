"""BERT directories: read with equal logits and vectors, gaps filled as transformers does, tuned, where readers begin."""

import json
import shutil

import pytest
import torch

pytest.importorskip("transformers", reason="needs the extra text")

import transformers

import bottega
from bottega.cli import main
from bottega.core import Batch, BottegaError, CheckpointError, DataError, RecipeError, Rng
from bottega.crafts.write_fill import fill
from bottega.crafts.write_labels import entities, sentiment
from hf_pairs import PAIRS, bert

KINDS = {
    "masked": ("BertForMaskedLM", {}), "first": ("BertForPreTraining", {"hidden_act": "gelu_new"}),
    "alone": ("BertModel", {}), "roberta": ("RobertaForMaskedLM", {"type_vocab_size": 1}),
    "distil": ("DistilBertForMaskedLM", {}),
}  # fmt: skip
TELLS = [kind for kind in KINDS if kind != "alone"]
SAID = ["the old dog sees the moon", "the red ship likes the river", "king"]
FREE = {"train.ema": 0.0, "optim.warmup": 0.1, "train.monitor": False, "train.checks": 0}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    here = tmp_path_factory.mktemp("bert")
    return {kind: bert(here / kind, name, **more) for kind, (name, more) in KINDS.items()}


def theirs(folder, kind):
    model = getattr(transformers, KINDS[kind][0]).from_pretrained(folder, dtype=torch.float32).eval()
    return model, transformers.AutoTokenizer.from_pretrained(folder)


def logits_of(out):
    return out.prediction_logits if hasattr(out, "prediction_logits") else out.logits


def rows(run, texts):
    """Rows of tokens, each text closed, and which are real."""
    batch = Batch.cat([run.codec.encode([bottega.core.Item(text)]) for text in texts])
    most = int(batch.mask.sum(1).max())
    return batch.x[:, :most], batch.mask[:, :most]


@pytest.mark.parametrize("kind", TELLS)
def test_a_directory_is_a_run_with_equal_logits(folders, kind):
    run = bottega.load(folders[kind])
    assert run.recipe.family["name"] == "bert"
    model, tokens = theirs(folders[kind], kind)
    asked = tokens(SAID, return_tensors="pt", padding=True)
    x, real = rows(run, SAID)
    given = run.model.condition(None, len(x))
    with torch.no_grad():
        want = logits_of(model(input_ids=asked.input_ids, attention_mask=asked.attention_mask))
        got = run.model._logits(run.model._heard(x, real, given))
    assert torch.allclose(got[:, 1:][real], want[:, 1:][real], atol=1e-4)
    assert torch.allclose(got[:, 0], want[:, 0], atol=1e-4)
    assert asked.input_ids[0, 0] == run.model.encoder.start


@pytest.mark.parametrize("kind", ["masked", "first"])
def test_the_second_text_of_a_pair_is_of_the_second_kind(folders, kind):
    run = bottega.load(folders[kind])
    model, tokens = theirs(folders[kind], kind)
    asked = tokens("the old dog", "likes the moon", return_tensors="pt")
    types = torch.zeros_like(asked.input_ids)
    types[0, asked.input_ids[0].tolist().index(run.codec.end) + 1 :] = 1
    x = asked.input_ids[:, 1:]
    with torch.no_grad():
        want = logits_of(model(input_ids=asked.input_ids, token_type_ids=types))
        got = run.model._logits(run.model._heard(x, None, run.model.condition(None, 1)))
        flat = logits_of(model(input_ids=asked.input_ids, token_type_ids=torch.zeros_like(types)))
    assert torch.allclose(got, want, atol=1e-4)
    assert not torch.allclose(got, flat, atol=1e-2)


@pytest.mark.parametrize("kind", KINDS)
def test_features_are_the_mean_of_its_vectors(folders, kind):
    run = bottega.load(folders[kind])
    inner = transformers.AutoModel.from_pretrained(folders[kind], dtype=torch.float32).eval()
    tokens = transformers.AutoTokenizer.from_pretrained(folders[kind])
    want = []
    for text in SAID:
        asked = tokens(text, return_tensors="pt")
        with torch.no_grad():
            out = inner(input_ids=asked.input_ids, attention_mask=asked.attention_mask)
        want.append(out.last_hidden_state[0, 1:].mean(0))
    assert torch.allclose(run.features(SAID), torch.stack(want), atol=1e-4)


@pytest.mark.parametrize("kind", TELLS)
def test_a_gap_is_filled_as_transformers_does(folders, kind, capsys):
    run = bottega.load(folders[kind])
    model, tokens = theirs(folders[kind], kind)
    asked = tokens("the old [MASK] sees the moon", return_tensors="pt")
    place = asked.input_ids[0].tolist().index(tokens.mask_token_id)
    with torch.no_grad():
        want = logits_of(model(input_ids=asked.input_ids, attention_mask=asked.attention_mask))[0, place].argmax()
    x, keep = asked.input_ids[:, 1:], torch.ones(1, len(asked.input_ids[0]) - 1, dtype=torch.bool)
    keep[0, place - 1] = False
    with torch.no_grad():
        made = run.model.edit(Batch(x), keep, Rng(0), temperature=0.0)
    assert made[0, place - 1] == want
    found = fill(run, "the old ___ sees the moon", longest=1, tries=200, temperature=1.5)
    assert found[0].text.startswith("the old")
    closed, _ = rows(run, [found[0].text])
    with torch.no_grad():
        likely = run.model.log_prob(Batch(closed), Rng(0)).item()
    assert found[0].logprob == pytest.approx(likely, abs=1e-3), "a text is read with its end"
    assert main(["write", "fill", str(folders[kind]), "the Old ___ sees the moon", "--longest", "1"]) == 0
    assert "sees the moon" in capsys.readouterr().out


@pytest.mark.parametrize("kind", KINDS)
def test_written_back_it_is_the_same(folders, kind, tmp_path):
    assert main(["export", str(folders[kind]), "--out", str(tmp_path / "copy"), "--quiet"]) == 0
    a, b = bottega.load(folders[kind]), bottega.load(tmp_path / "copy")
    assert torch.allclose(a.features(SAID), b.features(SAID), atol=1e-5)
    assert b.recipe.family["tells"] == (kind != "alone")
    name = "BertModel" if kind == "alone" else "BertForMaskedLM"
    model = getattr(transformers, name).from_pretrained(tmp_path / "copy", dtype=torch.float32).eval()
    tokens = transformers.AutoTokenizer.from_pretrained(tmp_path / "copy")
    asked = tokens(SAID, return_tensors="pt", padding=True)
    x, real = rows(a, SAID)
    with torch.no_grad():
        out = model(input_ids=asked.input_ids, attention_mask=asked.attention_mask)
        h = a.model._heard(x, real, a.model.condition(None, len(x)))
    want = out.last_hidden_state if kind == "alone" else out.logits
    got = h if kind == "alone" else a.model._logits(h)
    assert torch.allclose(got[:, 1:][real], want[:, 1:][real], atol=1e-4)
    assert tokens.mask_token == "[MASK]"


def labelled(tmp_path):
    """Texts of the dog and of others, and where the beast stands."""
    classes, spans = tmp_path / "classes.jsonl", tmp_path / "spans.jsonl"
    of = [(a, next(w for w in ("dog", "ship", "house") if w in a)) for a, _ in PAIRS]
    classes.write_text("".join(json.dumps({"text": a, "label": w}) + "\n" for a, w in of))
    rows = [{"text": a.title(), "label": [["thing", a.index(w), a.index(w) + len(w)]]} for a, w in of]
    spans.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return classes, spans


@pytest.mark.parametrize("kind", ["masked", "alone", "roberta"])
@pytest.mark.parametrize("how", ["base", "start"])
def test_a_reader_begins_with_it(folders, kind, how, tmp_path):
    classes, _ = labelled(tmp_path)
    changes = FREE | {"codec.length": 20, "optim.lr": 3e-3, "optim.muon_lr": 3e-3, "train.batch": 16}
    given = {"base": str(folders[kind])} if how == "base" else {}
    changes |= {"train.start": str(folders[kind])} if how == "start" else {}
    steps = 120 if (kind, how) == ("masked", "base") else 1
    run = bottega.train("classes", classes, tmp_path / "run", steps=steps, set=changes, judge=False, **given)
    assert any(note.startswith("began with the encoder of") for note in run.evidence.notes)
    assert (run.recipe.family["name"], run.recipe.family["lose"]) == ("reader", 0.15)
    start = bottega.load(folders[kind])
    assert run.model.encoder.state_dict().keys() == start.model.encoder.state_dict().keys()
    again = bottega.load(run.path)
    assert again.weights_hash == run.weights_hash
    assert again.codec.text.foreign.end == start.codec.end
    told = sentiment(again, [a for a, _ in PAIRS])
    if steps > 1:
        right = sum(one.label in one.text for one in told)
        assert right >= 0.8 * len(told), "with random vectors at the start, these steps learn which thing it is"


def test_spans_stand_where_they_are_in_the_text_as_it_was_written(folders, tmp_path):
    _, spans = labelled(tmp_path)
    own = {"codec.length": 20, "optim.lr": 3e-3, "optim.muon_lr": 3e-3, "train.batch": 16, "family.lose": 0.0}
    run = bottega.train(
        "spans", spans, tmp_path / "run", steps=60, set=FREE | own, base=str(folders["masked"]), judge=False
    )
    said = "The  Öld Dog, sees   The Moon"  # accents, capitals and blanks, of which its tokens know nothing
    (found,) = entities(run, [said])
    assert [(one.text, one.start) for one in found] == [("Dog", said.index("Dog"))]
    first, last = run.codec.text.bounds(said, run.codec.text.tokens([said])[0])
    assert said[first[-1] : last[-1]] == "Moon"
    odd = run.codec.text.strings([run.codec.text.tokens(["dog ' s - moon"])[0].tolist()])[0]
    first, last = run.codec.text.bounds(odd, run.codec.text.tokens(["dog ' s - moon"])[0])
    assert odd[first[-1] : last[-1]].strip() == "moon", "what was decoded is coded in another way, and yet found"


def test_answers_are_found_by_a_reader_that_begins_with_it(folders, tmp_path):
    rows = []
    for a, _ in PAIRS:
        thing, place = (
            next(w for w in words if w in a) for words in (("dog", "ship", "house"), ("moon", "river", "king"))
        )
        rows += [{"question": f"where does the {thing} live?", "text": a, "label": [a.index(place), len(a)]}]
    data = tmp_path / "answers.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    own = {"codec.length": 40, "optim.lr": 3e-3, "optim.muon_lr": 3e-3, "train.batch": 16, "family.lose": 0.0}
    run = bottega.train(
        "answers", data, tmp_path / "run", steps=60, set=FREE | own, base=str(folders["masked"]), judge=False
    )
    assert run.model.encoder.segment is not None, "the passage is of the second kind"
    made = run.sample(len(rows[::3]), cond=[f"{row['question']}\n{row['text']}" for row in rows[::3]], temperature=0.0)
    right = sum(item.value == tuple(row["label"]) for item, row in zip(made.items, rows[::3], strict=True))
    assert right >= 0.8 * len(rows[::3])


@pytest.mark.parametrize("rank", [0, 4])
def test_it_goes_on_learning_and_is_written_back(folders, rank, tmp_path):
    text = tmp_path / "text.txt"
    text.write_text("\n".join(a for a, _ in PAIRS))
    changes = FREE | {
        "train.patience": 0,
        "train.lora": rank,
        "codec.unit": "line",
        "codec.length": 16,
        "optim.lr": 5e-3,
        "train.batch": 16,
    }
    run = bottega.train("text", text, tmp_path / "run", steps=12, set=changes, base=str(folders["masked"]), judge=False)
    assert run.recipe.family["name"] == "bert"
    first, last = run.header["first_losses"]["nll"], run.header["last_losses"]["nll"]
    assert last < first
    assert main(["export", str(run.path), "--out", str(tmp_path / "hf"), "--quiet"]) == 0
    assert torch.allclose(bottega.load(tmp_path / "hf").features(SAID), run.features(SAID), atol=1e-5)
    start = bottega.load(folders["masked"])
    assert not torch.allclose(start.features(SAID), run.features(SAID), atol=1e-3)


def test_an_encoder_alone_tells_no_tokens(folders, tmp_path):
    run = bottega.load(folders["alone"])
    with pytest.raises(BottegaError, match="fills no gaps"):
        fill(run, "the old ___")
    with pytest.raises(RecipeError, match="an encoder alone and tells no tokens"):
        run.sample(1)
    text = tmp_path / "t.txt"
    text.write_text("\n".join(SAID * 9))
    with pytest.raises(RecipeError, match="is an encoder alone and tells no tokens; use recipe classes"):
        bottega.train("text", text, tmp_path / "run", base=str(folders["alone"]))


def broken(folders, tmp_path, kind="masked"):
    there = shutil.copytree(folders[kind], tmp_path / "broken", dirs_exist_ok=True)
    return there, json.loads((there / "config.json").read_text())


@pytest.mark.parametrize(
    ("changes", "why"),
    [({"hidden_act": "silu"}, "hidden_act is 'silu', which our transformer does not do"),
     ({"position_embedding_type": "relative_key"}, "position_embedding_type is 'relative_key', which"),
     ({"intermediate_size": 40}, r"config.json says \(40, 32\)"), ({"num_hidden_layers": 1}, "is of no part of a bert"),
     ({"architectures": ["BertModel"]}, "weight 'cls.predictions.* is of no part of a bert"),
     ({"model_type": "electra"}, "holds a model of kind 'electra', which fills masks; it is not read here, .*bert, distilbert")],
)  # fmt: skip
def test_other_arithmetic_is_refused_by_its_name(folders, tmp_path, changes, why):
    there, config = broken(folders, tmp_path)
    (there / "config.json").write_text(json.dumps(config | changes))
    with pytest.raises(CheckpointError, match=why):
        bottega.load(there)
    assert main(["write", "fill", str(there), "the ___"]) == 2


def test_pickles_and_strange_tokenizers_are_refused(folders, tmp_path):
    there, config = broken(folders, tmp_path)
    for changes, why in (
        ({"pad_token_id": 3}, "it pads with 0, the model with 3"),
        ({"vocab_size": 20}, "the model 20"),
    ):
        (there / "config.json").write_text(json.dumps(config | changes))
        with pytest.raises(DataError, match=f"is of another model.*{why}"):
            bottega.load(there)
    there, _ = broken(folders, tmp_path)
    marks = json.loads((there / "tokenizer_config.json").read_text())
    for name, why in (
        ("mask_token", "which token is its mask; add mask_token"),
        ("sep_token", "which token ends a text"),
    ):
        (there / "tokenizer_config.json").write_text(json.dumps({k: v for k, v in marks.items() if k != name}))
        with pytest.raises(BottegaError, match=why):
            bottega.load(there)
    (there / "model.safetensors").unlink()
    (there / "pytorch_model.bin").write_bytes(b"\x80\x02whatever")
    (there / "tokenizer_config.json").write_text(json.dumps(marks))
    with pytest.raises(CheckpointError, match=r"as a pickle only.*BertForMaskedLM.from_pretrained\(DIR\)"):
        bottega.load(there)
