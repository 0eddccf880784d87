"""Small directories of models that are not causal, made by the tests: T5s with a Unigram tokenizer, BERTs with WordPiece."""

import json
from pathlib import Path

PAIRS = [
    (f"the {a} {b} {c} the {d}", f"{d} {c} {b} {a}")
    for a in ("old", "red", "small")
    for b in ("dog", "ship", "house")
    for c in ("sees", "likes", "meets")
    for d in ("moon", "river", "king")
]


def unigram():
    """As T5's: SentencePiece's Unigram with a low line for a blank, texts closed by ``</s>``."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

    made = Tokenizer(models.Unigram())
    made.pre_tokenizer = pre_tokenizers.Metaspace()
    made.decoder = decoders.Metaspace()
    text = [side for pair in PAIRS for side in pair] + ["translate English to Elvish: ", "summarize: "]
    marks = ["<pad>", "</s>", "<unk>"]
    made.train_from_iterator(
        text, trainers.UnigramTrainer(vocab_size=60, special_tokens=marks, unk_token="<unk>", show_progress=False)
    )
    made.post_processor = processors.TemplateProcessing(
        single="$A </s>", pair="$A </s> $B </s>", special_tokens=[("</s>", made.token_to_id("</s>"))]
    )
    return made


def wordpiece():
    """As BERT's of lower case: ``##`` before what goes on with a word, ``[CLS] text [SEP]``."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

    made = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    made.normalizer = normalizers.BertNormalizer(lowercase=True)
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.decoder = decoders.WordPiece()
    marks = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    made.train_from_iterator(
        [a for a, _ in PAIRS] + ["Where does the Old dog live?"],
        trainers.WordPieceTrainer(vocab_size=90, special_tokens=marks, show_progress=False),
    )
    made.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[(m, made.token_to_id(m)) for m in ("[CLS]", "[SEP]")],
    )  # fmt: skip
    return made


def saved(folder: Path, model, made, marks: dict[str, str]) -> Path:
    """Random weights, biases and norms too, so that none is overlooked; config and tokenizer as they are published."""
    import torch

    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.1 * torch.randn_like(p))
    model.save_pretrained(folder)
    made.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "PreTrainedTokenizerFast"} | {f"{k}_token": v for k, v in marks.items()})
    )
    return folder


def t5(folder: Path, seed: int = 0, **more) -> Path:
    """A T5 for pairs; ``more`` goes into its configuration, ``tie_word_embeddings=False`` makes it a 1.1."""
    import torch
    import transformers

    made = unigram()
    sizes = {"d_model": 32, "d_kv": 6, "d_ff": 48, "num_layers": 2, "num_heads": 4}
    config = transformers.T5Config(
        vocab_size=made.get_vocab_size() + 4, decoder_start_token_id=0, pad_token_id=0, eos_token_id=1, **sizes | more
    )
    torch.manual_seed(seed)
    model = transformers.T5ForConditionalGeneration(config)
    if more.get("tie_word_embeddings") is False:
        model.lm_head.weight = torch.nn.Parameter(0.3 * torch.randn_like(model.lm_head.weight))
    return saved(folder, model, made, {"pad": "<pad>", "eos": "</s>", "unk": "<unk>"})


def bert(folder: Path, architecture: str = "BertForMaskedLM", seed: int = 0, **more) -> Path:
    """An encoder of one of the architectures of ``transformers``: BERT's, RoBERTa's or DistilBERT's."""
    import torch
    import transformers

    made = wordpiece()
    kind = architecture.split("For")[0].removesuffix("Model")
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48}
    if kind == "DistilBert":
        sizes = {"dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 48}
    config = getattr(transformers, f"{kind}Config")(
        vocab_size=made.get_vocab_size(), max_position_embeddings=48, pad_token_id=0, bos_token_id=None,
        eos_token_id=None, **sizes | more,
    )  # fmt: skip
    torch.manual_seed(seed)
    marks = {"pad": "[PAD]", "unk": "[UNK]", "cls": "[CLS]", "sep": "[SEP]", "mask": "[MASK]"}
    return saved(folder, getattr(transformers, architecture)(config), made, marks)
