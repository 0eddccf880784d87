"""Small runs, and servers of them on free ports of this machine."""

from __future__ import annotations

import httpx
import pytest

import bottega
from recipes import write_recipe
from serving import running

FOX = "the quick brown fox jumps over the lazy dog. naïve größe 日本 costs 3 €.\n"


@pytest.fixture(scope="session")
def served(tmp_path_factory):
    """Folders of runs by name: texts (bpe tokens), recurrent texts, digits with classes, a VAE of digits, points, a table."""
    here = tmp_path_factory.mktemp("served")
    (here / "fox.txt").write_text(FOX * 60)
    made = {}

    def train(name, family, data, codec, steps, size, **changes):
        argument = data if isinstance(data, dict) else {"name": str(data), "held": 0.0}
        recipe = write_recipe(here, family, name=name, size=size, data=argument, codec=codec, steps=steps, batch=16)
        given = None if isinstance(data, dict) else data
        made[name] = bottega.train(recipe, data=given, out=here / name, set=changes, judge=False).path

    text = {"name": "text", "tokenizer": "bpe", "vocab": 300, "length": 64}
    train("fox", "gpt", here / "fox.txt", text, 60, 2, **{"family.context": 512})
    train("recurrent", "rnn", here / "fox.txt", {**text, "tokenizer": "byte"}, 5, 8)
    digits = {"name": "digits", "held": 0.5}
    image = {"name": "image", "size": 0}
    train("digits", "diffusion", digits, image, 3, 8)
    train("codes", "vae", digits, {**image, "labels": "none"}, 3, 8)
    return made


@pytest.fixture(scope="session")
def server(served):
    """One server of all runs."""
    with running(runs=tuple(map(str, served.values())), memory=1 << 30) as made:
        yield made


@pytest.fixture(scope="session")
def client(server):
    openai = pytest.importorskip("openai")
    return openai.OpenAI(api_key="none", base_url=f"{server.url}/v1", max_retries=0, timeout=60)


@pytest.fixture(scope="session")
def http(server):
    with httpx.Client(base_url=server.url, timeout=60) as made:
        yield made
