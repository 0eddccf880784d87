"""Any causal language model that ``transformers`` knows, as a family: a thin wrapper."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from bottega.core import Batch, BottegaError, CheckpointError, Family, RecipeError, Rng, Spec, Terms, passes_on
from bottega.core.measure import Bound
from bottega.samplers.decode import decode
from bottega.samplers.steps import Step

__all__ = ["Pretrained"]


class Pretrained(Family):
    """A causal language model by its ``config.json``: ``log p(x) = sum_i log p(x_i | bos, x_<i)``, exact.

    Architectures that ``gpt`` does natively (GPT-2, Llama, Mistral, Qwen 2) are better there. The network is built by
    ``transformers`` from its own code; code that a directory brings along is never run. Dropout is off.

    Args:
        spec: ``Spec((L,), vocab=V)``, V as the configuration says.
        size: the dial where there is no ``config``: a new GPT-NeoX of ``size`` layers of ``size`` heads, each 32 wide.
        config: the ``config.json`` as a text.
        context: how many positions it sees when it writes; 0 means a row's.
        bos: the token at the start.
        begins: whether it also stands before what is given.
    """

    bound: Bound = "exact"

    def __init__(
        self, spec: Spec, *, size: int = 4, config: str = "", context: int = 0, bos: int = 0, begins: bool = True
    ) -> None:
        super().__init__(spec)
        try:
            import transformers
        except ImportError as error:
            raise BottegaError("family pretrained needs transformers: pip install 'bottega[text]'") from error
        if size < 1:
            raise RecipeError(f"family.size is {size}; it must be at least 1")
        if not 0 <= bos < spec.vocab:
            raise RecipeError(f"family.bos is {bos}; it must be a token, 0 to {spec.vocab - 1}")
        said = json.loads(config) if config else {
            "model_type": "gpt_neox", "vocab_size": spec.vocab, "hidden_size": 32 * size, "num_hidden_layers": size,
            "num_attention_heads": size, "intermediate_size": 128 * size, "max_position_embeddings": max(context, spec.dims),
        }  # fmt: skip
        if said.get("vocab_size", spec.vocab) != spec.vocab:
            raise RecipeError(
                f"family.config has {said['vocab_size']} tokens and the codec {spec.vocab}; they are of two models"
            )
        said = {k: 0.0 if _drops(k, v) else v for k, v in said.items()}
        kind = said.pop("model_type", None)
        said["dtype"] = "float32"
        try:
            self.inner: Any = transformers.AutoModelForCausalLM.from_config(
                transformers.AutoConfig.for_model(kind, **said), trust_remote_code=False
            )
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            why = str(error).splitlines()[0]
            raise RecipeError(f"transformers makes no causal language model of {kind!r}: {why}") from error
        self.begins, self.start, self.length = begins, bos, spec.dims
        self.sees = max(context, spec.dims)
        # one tensor under two names is saved once
        self._twice = _aliases(self.inner)
        self._register_state_dict_hook(_without_aliases)
        self.register_load_state_dict_pre_hook(_with_aliases)

    @classmethod
    def accepts(cls, spec: Spec) -> str:
        """Texts without conditions."""
        if not spec.is_tokens or not spec.is_sequence or spec.blocks:
            return "it reads sequences of tokens; use codec text"
        return "" if spec.cond is None else "it knows no conditions; leave codec.label and codec.given out"

    @staticmethod
    def wrapping(config: Mapping[str, Any]) -> dict[str, Any]:
        """The ``[family]`` table of a Hugging Face ``config.json``."""
        start = config.get("bos_token_id")
        start = config.get("eos_token_id") if start is None else start
        start = start[0] if isinstance(start, list) and start else start
        sees = next(
            (config[k] for k in ("max_position_embeddings", "n_positions", "max_seq_len") if config.get(k)), 2048
        )
        return {"name": "pretrained", "config": json.dumps(dict(config)), "context": int(sees), "bos": start or 0}

    def take_weights(self, tensors: Mapping[str, Tensor], config: Mapping[str, Any]) -> None:
        """Weights by the names of ``transformers``; those of a base model without its head too."""
        kind = type(self.inner)
        inner, told = kind.from_pretrained(
            None, config=self.inner.config, state_dict=dict(tensors), dtype=torch.float32, output_loading_info=True
        )
        for problem in ("missing_keys", "unexpected_keys", "mismatched_keys"):
            for name in sorted(map(str, told[problem])):
                raise CheckpointError(
                    f"weight {name!r} is among the {problem.replace('_', ' ')}; the directory holds another model than "
                    "config.json says"
                )
        self.inner.load_state_dict(inner.state_dict())

    def to_huggingface(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """``config.json`` and weights."""
        tensors = {k.removeprefix("inner."): t.contiguous() for k, t in self.state_dict().items()}
        return json.loads(self.inner.config.to_json_string(use_diff=False)), tensors

    def _nll(self, batch: Batch) -> tuple[Tensor, Tensor]:
        x = batch.x
        real = torch.ones_like(x, dtype=torch.bool) if batch.mask is None else batch.mask.expand(x.shape)
        logits = self.inner(F.pad(x[:, :-1], (1, 0), value=self.start), use_cache=False).logits.float()
        nll = F.cross_entropy(logits.transpose(1, 2), x, reduction="none")
        return nll.masked_fill(~real, 0.0), real

    def loss(self, batch: Batch, rng: Rng) -> Terms:
        """Nats of the real tokens; weighted by their number."""
        nll, real = self._nll(batch)
        return Terms({"nll": nll.sum(1)}, weight=real.sum(1).float())

    def log_prob(self, batch: Batch, rng: Rng) -> Tensor:
        """``(B,)`` nats, exact."""
        return -self._nll(batch)[0].sum(1)

    def step(self, begin: int | None) -> Step:
        """The model as ``samplers.tokens.generate`` wants it; beyond what it sees it reads the later half again."""
        history, past, filled = torch.zeros(0, 0, dtype=torch.long), None, 0

        def step(fresh: Tensor) -> Tensor:
            nonlocal history, past, filled
            if past is None and begin is not None:
                fresh = torch.cat([fresh.new_full((len(fresh), 1), begin), fresh], 1)
            history = torch.cat([history, fresh], 1) if len(history) else fresh
            if filled + fresh.shape[1] > self.sees:
                fresh, past, filled = history[:, -(self.sees // 2) :], None, 0
                if begin is not None:
                    fresh = torch.cat([fresh.new_full((len(fresh), 1), begin), fresh], 1)
                history = fresh
            out = self.inner(fresh, past_key_values=past, use_cache=True, logits_to_keep=1)
            past, filled = out.past_key_values, filled + fresh.shape[1]
            return out.logits[:, -1].float()

        return step

    @passes_on(decode)
    @torch.no_grad()
    def stream(
        self,
        n: int,
        rng: Rng,
        cond: Tensor | None = None,
        batch: Batch | None = None,
        keep: Tensor | None = None,
        *,
        max_new: int | None = None,
        **knobs: Any,
    ) -> Iterator[Tensor]:
        """Yields ``(n, t)`` tokens as they are made; see ``families.gpt.GPT.stream``."""
        if max_new is not None and max_new < 1:
            raise RecipeError(f"max_new is {max_new}; it must be at least 1")
        device = next(self.parameters()).device
        x = torch.zeros(n, 0, dtype=torch.long, device=device) if batch is None else batch.x
        kept = torch.ones_like(x, dtype=torch.bool) if keep is None else keep.expand(x.shape)
        more = (self.length if max_new is None else max_new) if batch is None else max_new or 0
        prompted = bool(kept.shape[1]) and bool(kept[:, 0].all())
        step = self.step(None if prompted and not self.begins else self.start)
        yield from decode(step, F.pad(x, (0, more)), F.pad(kept, (0, more), value=False), rng, **knobs)

    @passes_on(decode)
    @torch.no_grad()
    def sample(
        self, n: int, rng: Rng, cond: Tensor | None = None, *, max_new: int | None = None, **knobs: Any
    ) -> Tensor:
        """``(n, *spec.shape)`` tokens, int64; with ``max_new``, ``(n, max_new)``."""
        return torch.cat(list(self.stream(n, rng, cond, max_new=max_new, **knobs)), 1)

    @passes_on(decode)
    @torch.no_grad()
    def edit(self, batch: Batch, keep: Tensor, rng: Rng, *, max_new: int | None = None, **knobs: Any) -> Tensor:
        """Kept tokens stay; the others are made from left to right."""
        return torch.cat(list(self.stream(len(batch), rng, None, batch, keep, max_new=max_new, **knobs)), 1)


def _drops(name: str, value: Any) -> bool:
    """Whether a setting is a chance of dropout, which transformers would draw from torch's own numbers."""
    return isinstance(value, float) and ("drop" in name)


def _aliases(model: torch.nn.Module) -> set[str]:
    seen: dict[int, str] = {}
    out = set()
    for name, t in model.state_dict(keep_vars=True).items():
        if id(t) in seen:
            out.add(f"inner.{name}")
        seen.setdefault(id(t), name)
    return out


def _without_aliases(module: Any, state: dict[str, Tensor], prefix: str, _: Any) -> None:
    for name in module._twice:
        state.pop(prefix + name, None)


def _with_aliases(module: Any, state: dict[str, Tensor], prefix: str, *_: Any) -> None:
    whole = module.inner.state_dict(keep_vars=True)
    for name in module._twice:
        mine = id(whole[name.removeprefix("inner.")])
        first = next(k for k, t in whole.items() if id(t) == mine)
        if f"{prefix}inner.{first}" in state:
            state[prefix + name] = state[f"{prefix}inner.{first}"]
