"""Small directories of real kinds of models, made by the tests: random weights, a tokenizer trained on a line or two."""

import json
from pathlib import Path

TEXT = ["The north wind and the sun were disputing which was the stronger. " * 3, "héllo wörld 你好 don't 12\n\ttab"]
END = "<|endoftext|>"


def tokenizer(vocab=300, begin=False):
    """A byte-level BPE as GPT-2's, or with a start before every text as Llama 3's."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    special = [END, "<s>"] if begin else [END]
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    made.train_from_iterator(
        TEXT,
        trainers.BpeTrainer(vocab_size=vocab, initial_alphabet=alphabet, special_tokens=special, show_progress=False),
    )
    if begin:
        made.post_processor = processors.TemplateProcessing(
            single="<s> $A", special_tokens=[("<s>", made.token_to_id("<s>"))]
        )
    return made


def sentencepiece(way="prepend", vocab=120):
    """A BPE over characters that falls back on bytes and spells a blank before a text, ``</s>`` behind it.

    ``way``: ``"prepend"`` as Llama 2 and Mistral v0.1 have it (a normalizer), ``"metaspace"`` as newer conversions do (a
    pre-tokenizer, before the first word only), ``"gemma"`` without a blank before.
    """
    from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

    marks = ["<unk>", "<s>", "</s>"]
    taught = Tokenizer(models.BPE())
    taught.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
    taught.train_from_iterator(TEXT, trainers.BpeTrainer(vocab_size=vocab, show_progress=False))
    learned = json.loads(taught.to_str())["model"]
    odd = set("\n\t你好ö")  # left to the bytes
    pieces = [p for p, _ in sorted(learned["vocab"].items(), key=lambda kv: kv[1]) if not odd & set(p)]
    numbers = {p: k for k, p in enumerate([*marks, *(f"<0x{b:02X}>" for b in range(256)), *pieces])}
    merges = [tuple(m) for m in learned["merges"] if not odd & set("".join(m))]
    made = Tokenizer(models.BPE(numbers, merges, unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    parts = [decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse()]
    if way == "metaspace":
        made.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    else:
        first = [normalizers.Prepend("\u2581")] if way == "prepend" else []
        made.normalizer = normalizers.Sequence([*first, normalizers.Replace(" ", "\u2581")])
    made.decoder = decoders.Sequence(parts if way == "gemma" else [*parts, decoders.Strip(" ", 1, 0)])
    made.add_special_tokens([AddedToken(mark, special=True, normalized=False) for mark in marks])
    made.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", made.token_to_id("<s>"))]
    )
    return made


def directory(folder: Path, kind: str, seed: int = 0, spelt: str = "", **more) -> Path:
    """A directory of ``kind`` as ``save_pretrained`` writes it; ``spelt`` in a ``way`` of ``sentencepiece``."""
    import torch
    import transformers

    begin, end = kind in {"llama", "mistral"}, "</s>" if spelt else END
    made = sentencepiece(spelt) if spelt else tokenizer(begin=begin)
    marks = {"eos_token_id": made.token_to_id(end), "bos_token_id": made.token_to_id("<s>" if begin else end)}
    if kind in {"qwen2", "gpt_neox"}:
        marks["bos_token_id"] = None
    sizes = {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64} if kind in {"gpt2"} else {
        "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48,
        "max_position_embeddings": 64}  # fmt: skip
    if kind in {"llama", "mistral", "qwen2"}:
        sizes["num_key_value_heads"] = 2
    config = transformers.AutoConfig.for_model(kind, vocab_size=made.get_vocab_size() + 4, **sizes, **marks, **more)
    torch.manual_seed(seed)
    model = transformers.AutoModelForCausalLM.from_config(config)
    with torch.no_grad():
        for p in model.parameters():  # biases and norms too, so that none is overlooked
            p.add_(0.1 * torch.randn_like(p))
    model.save_pretrained(folder)
    made.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(
        json.dumps(
            {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": end} | ({"bos_token": "<s>"} if begin else {})
        )
    )
    return folder
