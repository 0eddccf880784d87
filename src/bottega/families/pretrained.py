"""Any causal language model that ``transformers`` knows, as a family: a thin wrapper."""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from bottega.core import Batch, BottegaError, CheckpointError, Family, RecipeError, Rng, Spec, Terms
from bottega.core.measure import Bound
from bottega.nets.text_encoder import mean_of_real, without_tail
from bottega.samplers.causal import LeftToRight

__all__ = ["Pretrained"]


class Pretrained(LeftToRight, Family):
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
    reads_given: ClassVar[bool] = True
    contract_size: ClassVar[int] = 2

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
        self.begins, self.start = begins, bos
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
        dims, batch = batch.x.shape[1], without_tail(batch)
        x = batch.x
        real = torch.ones_like(x, dtype=torch.bool) if batch.mask is None else batch.mask.expand(x.shape)
        logits = self.inner(F.pad(x[:, :-1], (1, 0), value=self.start), use_cache=False).logits.float()
        nll = F.cross_entropy(logits.transpose(1, 2), x, reduction="none")
        more = (0, dims - x.shape[1])
        return F.pad(nll.masked_fill(~real, 0.0), more), F.pad(real, more)

    def loss(self, batch: Batch, rng: Rng) -> Terms:
        """Nats of the real tokens; weighted by their number."""
        nll, real = self._nll(batch)
        return Terms({"nll": nll.sum(1)}, weight=real.sum(1).float())

    def log_prob(self, batch: Batch, rng: Rng) -> Tensor:
        """``(B,)`` nats, exact."""
        return -self._nll(batch)[0].sum(1)

    def represent(self, batch: Batch) -> Tensor:
        """``(B, width)``: the mean of the last layer's vectors that its real tokens are said from."""
        inputs = F.pad(batch.x[:, :-1], (1, 0), value=self.start)
        h = self.inner(inputs, use_cache=False, output_hidden_states=True).hidden_states[-1]
        return mean_of_real(h, None if batch.mask is None else batch.mask.expand(batch.x.shape))

    def step(
        self, n: int, cond: Tensor | None = None, guidance: float = 1.0, *, prompted: bool = False, most: int = 0
    ) -> _Reading:
        """Beyond what it ``sees`` it reads the later half again; ``prompted`` matters to a model whose start is not said."""
        return _Reading(self.inner, n, self.sees, None if prompted and not self.begins else self.start)


class _Reading:
    """A step over a network of ``transformers`` with the cache that it makes; rows may be of unequal length.

    Args:
        inner: the network.
        n: how many rows.
        sees: how many tokens it sees at most; a row that is longer goes on from its later half.
        begin: the token before the first, if any.
    """

    def __init__(self, inner: Any, n: int, sees: int, begin: int | None) -> None:
        self.inner, self.sees, self.begin, self.cache = inner, sees, begin, None
        self.rows: list[Tensor] = [torch.zeros(0, dtype=torch.long, device=inner.device)] * n  # what each row sees
        self.mask: Tensor | None = None  # (n, t), which of what the cache holds is real; None: all
        self.placed = "position_ids" in inspect.signature(inner.forward).parameters

    def __call__(self, fresh: Tensor) -> Tensor:
        """``(n, t)`` tokens -> logits of the next position, ``(n, vocab)``."""
        before = 0 if self.begin is None else 1
        self.rows = [torch.cat([row, new[new >= 0]]) for row, new in zip(self.rows, fresh, strict=True)]
        over = [before + len(row) > self.sees for row in self.rows]
        if self.cache is None or fresh.shape[1] != 1 or bool((fresh < 0).any()) or any(over):
            half = self.sees // 2
            self.rows = [row[-half:] if is_over else row for row, is_over in zip(self.rows, over, strict=True)]
            return self._anew()
        if self.mask is not None:
            self.mask = F.pad(self.mask, (0, 1), value=True)
        return self._read(fresh)

    def take(self, rows: Tensor) -> None:
        """Go on with these rows in this order."""
        self.rows = [self.rows[i] for i in rows.tolist()]
        self.mask = None if self.mask is None else self.mask[rows]
        if self.cache is not None:
            self.cache.batch_select_indices(rows)

    def room(self) -> int:
        """How many tokens more fit before the window moves."""
        return self.sees - max(map(len, self.rows), default=0) - (self.begin is not None)

    def _anew(self) -> Tensor:
        """All rows are read from their beginnings, shorter ones behind padding."""
        begin = [] if self.begin is None else [torch.tensor([self.begin], device=self.inner.device)]
        rows = [torch.cat([*begin, row]) for row in self.rows]
        longest = max(map(len, rows))
        self.cache, self.mask = None, None
        if any(len(row) < longest for row in rows):
            self.mask = torch.stack([torch.arange(longest, device=row.device) >= longest - len(row) for row in rows])
        return self._read(torch.stack([F.pad(row, (longest - len(row), 0)) for row in rows]))

    def _read(self, fresh: Tensor) -> Tensor:
        told: dict[str, Any] = {}
        if self.mask is not None:
            told["attention_mask"] = self.mask.long()
            if self.placed:
                told["position_ids"] = (self.mask.cumsum(1) - 1).clamp_min(0)[:, -fresh.shape[1] :]
        out = self.inner(fresh, past_key_values=self.cache, use_cache=True, logits_to_keep=1, **told)
        self.cache = out.past_key_values
        return out.logits[:, -1].float()


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
