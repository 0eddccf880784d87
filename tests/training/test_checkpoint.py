"""The file of a run: whole or not there, never a pickle, and it says what is wrong with it."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import textwrap

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from bottega.core import CheckpointError, OutputError, Rng
from bottega.nets.mlp import MLP
from bottega.training import checkpoint
from bottega.training.ema import Ema
from bottega.training.optim import Optim

TENSORS = {
    "model.a": torch.randn(3, 4),
    "model.b": torch.arange(5),
    "model.half": torch.randn(2).bfloat16(),
    "model.none": torch.zeros(0, 3),
    "model.one": torch.tensor(2.5),
    "model.turned": torch.randn(4, 3).T,
    "rng.0": Rng(0).state()[0],
    "flag": torch.tensor([True, False]),
}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.safetensors"


def test_tensors_and_header_come_back(path):
    checkpoint.save(path, TENSORS, {"step": 3, "recipe": {"family": {"name": "vae"}}, "word": "naïve"})
    tensors, header = checkpoint.load(path)
    assert header == {"format": 1, "step": 3, "recipe": {"family": {"name": "vae"}}, "word": "naïve"}
    assert tensors.keys() == TENSORS.keys()
    assert all(torch.equal(tensors[k], t) and tensors[k].dtype == t.dtype for k, t in TENSORS.items())
    assert checkpoint.weights_hash(tensors) == checkpoint.weights_hash(TENSORS)
    assert set(checkpoint.load(path, prefix="rng.")[0]) == {"rng.0"}
    assert os.listdir(path.parent) == [path.name]


def test_a_new_folder_is_made(tmp_path):
    checkpoint.save(tmp_path / "a" / "b" / "model.safetensors", TENSORS, {})
    assert checkpoint.load(tmp_path / "a" / "b" / "model.safetensors")[1] == {"format": 1}


def test_headers_of_every_length_are_read(path):
    """A header's length stands first in the file; 640 and 19280 look like the mark of a pickle and of a zip file."""
    lengths = set()
    for pad in [*range(0, 1400, 8), *range(19000, 19400, 8)]:
        checkpoint.save(path, {"a": torch.zeros(1)}, {"pad": "x" * pad})
        lengths.add(int.from_bytes(path.read_bytes()[:8], "little"))
        assert checkpoint.load(path)[1]["pad"] == "x" * pad
    assert {640, 896, 1152, 1408, 19280} <= lengths


def test_the_hash_sees_names_kinds_shapes_and_bytes():
    one = {"a": torch.zeros(2, 3), "b": torch.ones(1)}
    others = [
        {"a": torch.zeros(2, 3), "c": torch.ones(1)},
        {"a": torch.zeros(3, 2), "b": torch.ones(1)},
        {"a": torch.zeros(2, 3), "b": torch.ones(1).double()},
        {"a": torch.zeros(2, 3), "b": torch.ones(1) * (1 + 2**-23)},
        {"a": torch.zeros(2, 3)},
    ]
    hashes = {checkpoint.weights_hash(w) for w in [one, *others]}
    assert len(hashes) == 6
    assert checkpoint.weights_hash(dict(reversed(one.items()))) in hashes


def trained(seed):
    torch.manual_seed(seed)
    model = nn.ModuleList([MLP(2, 2, (3,)) for _ in range(11)])  # "10" comes before "2" in a file
    optims, ema, rng = {"": Optim(model, 9)}, Ema(model, 0.9), Rng(seed)
    for step in range(2):
        for p in model.parameters():
            p.grad = rng.normal(*p.shape)
        optims[""].at(step).step()
        ema.update(model, step)
    return model, optims, ema, rng


def test_everything_that_training_changes_comes_back_in_the_order_of_the_model(path):
    one, other = trained(1), trained(2)
    checkpoint.save(path, checkpoint.pack(*one), {})
    checkpoint.unpack(checkpoint.load(path)[0], *other)
    assert checkpoint.weights_hash(checkpoint.pack(*one)) == checkpoint.weights_hash(checkpoint.pack(*other))
    assert list(other[2].shadow) == [name for name, _ in other[0].named_parameters()]
    for model, optims, ema, rng in (one, other):
        for p in model.parameters():
            p.grad = rng.normal(*p.shape)
        optims[""].at(2).step()
        ema.update(model, 2)
    assert checkpoint.weights_hash(checkpoint.pack(*one)) == checkpoint.weights_hash(checkpoint.pack(*other))


def test_the_average_is_sampled_with_and_buffers_are_the_models():
    tensors = {"model.w": torch.zeros(1), "model.buffer": torch.ones(1), "ema.w": torch.full((1,), 5.0)}
    assert {k: v.item() for k, v in checkpoint.sampling_weights(tensors).items()} == {"w": 5.0, "buffer": 1.0}
    assert checkpoint.sampling_weights({"model.w": torch.zeros(1)})["w"].item() == 0


@pytest.mark.parametrize(
    ("other", "says"),
    [
        (MLP(2, 2, (4,)), "has shape"),
        (MLP(2, 2, (3, 3)), "is missing from the file"),
        (MLP(2, 2, ()), "unknown to the model|has shape"),
    ],
)
def test_another_model_is_refused_and_left_as_it_was(other, says):
    before = checkpoint.weights_hash(other.state_dict())
    with pytest.raises(CheckpointError, match=says):
        checkpoint.load_weights(other, MLP(2, 2, (3,)).state_dict())
    assert checkpoint.weights_hash(other.state_dict()) == before


def test_a_file_without_an_average_is_refused_where_one_is_wanted():
    model, optims, ema, rng = trained(1)
    with pytest.raises(CheckpointError, match="no average"):
        checkpoint.unpack(checkpoint.pack(model, optims, None, rng), model, optims, ema, rng)


# --- files that are not what they should be ---------------------------------------------------------------------------


def test_a_truncated_file_is_refused_wherever_it_ends(path):
    checkpoint.save(path, TENSORS, {"step": 1})
    whole = path.read_bytes()
    for length in [*range(40), *range(40, len(whole), 97), len(whole) - 1]:
        path.write_bytes(whole[:length])
        with pytest.raises(CheckpointError, match=r"truncated|damaged"):
            checkpoint.load(path)


def test_a_damaged_header_is_refused(path):
    checkpoint.save(path, TENSORS, {"step": 1})
    whole = path.read_bytes()
    size = int.from_bytes(whole[:8], "little")
    for at in [*range(8), *range(9, 8 + size, 13)]:
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0x55]) + whole[at + 1 :])
        try:
            tensors, _ = checkpoint.load(path)
        except CheckpointError as error:
            assert "\n" not in str(error)  # noqa: PT017
        else:  # the flip fell on a name or a word of the header; what is read is still whole
            assert len(tensors) == len(TENSORS)


class Bomb:
    def __reduce__(self):
        return os._exit, (13,)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_pickle_is_refused_and_not_run(path, protocol):
    path.write_bytes(pickle.dumps({"bomb": Bomb()}, protocol))
    with pytest.raises(CheckpointError, match="pickle" if protocol >= 2 else "truncated or damaged"):
        checkpoint.load(path)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_file_of_torch_save_is_refused_and_not_run(path, zipped):
    torch.save({"bomb": Bomb()}, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(CheckpointError, match="is a pickle, which can run code when loaded"):
        checkpoint.load(path)


def test_a_newer_format_is_refused_by_name(path):
    checkpoint.save(path, TENSORS, {"format": checkpoint.FORMAT + 1, "version": "9.8.7"})
    with pytest.raises(CheckpointError, match=r"has format 2, this version reads up to 1; update bottega .*9\.8\.7"):
        checkpoint.load(path)


@pytest.mark.parametrize("meta", [None, {"other": "1"}, {"bottega": "[]"}, {"bottega": "{}"}, {"bottega": "{"}])
def test_a_foreign_safetensors_file_is_refused(path, meta):
    save_file({"a": torch.zeros(1)}, path, meta)
    with pytest.raises(CheckpointError):
        checkpoint.load(path)


def test_nothing_there_and_a_folder_there_are_named(path):
    with pytest.raises(CheckpointError, match="No such file"):
        checkpoint.load(path)
    path.mkdir()
    with pytest.raises(CheckpointError, match="directory"):
        checkpoint.load(path)


# --- places that cannot be written ------------------------------------------------------------------------------------


def test_a_file_in_the_place_of_a_folder_is_named(tmp_path):
    (tmp_path / "run").write_text("not a folder")
    with pytest.raises(OutputError, match=r"cannot write .*run.model\.safetensors: .*--out"):
        checkpoint.save(tmp_path / "run" / "model.safetensors", TENSORS, {})
    assert (tmp_path / "run").read_text() == "not a folder"


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
def test_a_place_where_nobody_may_write_is_named():
    from pathlib import Path

    with pytest.raises(OutputError, match="cannot write /proc/run"):
        checkpoint.save(Path("/proc/run/model.safetensors"), TENSORS, {})


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere")
def test_no_permission_is_named_and_the_previous_file_survives(path):
    checkpoint.save(path, TENSORS, {"step": 1})
    path.parent.chmod(0o500)
    try:
        with pytest.raises(OutputError, match="Permission denied"):
            checkpoint.save(path, TENSORS, {"step": 2})
    finally:
        path.parent.chmod(0o700)
    assert checkpoint.load(path)[1]["step"] == 1


def run(code, *args):
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), *map(str, args)], capture_output=True, text=True
    )


@pytest.mark.skipif(sys.platform == "win32", reason="needs resource limits")
def test_a_full_disk_is_named_and_the_previous_file_survives(path):
    done = run(
        """
        import resource, sys
        from pathlib import Path
        import torch
        from bottega.core import OutputError
        from bottega.training import checkpoint
        path = Path(sys.argv[1])
        checkpoint.save(path, {"a": torch.ones(10)}, {"step": 1})
        resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
        try:
            checkpoint.save(path, {"a": torch.ones(100_000)}, {"step": 2})
        except OutputError as error:
            print(error)
        """,
        path,
    )
    assert done.stdout.startswith(f"cannot write {path}: "), done.stderr
    assert "free some space" in done.stdout
    assert len(done.stdout.splitlines()) == 1
    tensors, header = checkpoint.load(path)
    assert (header["step"], tensors["a"].sum().item()) == (1, 10)
    assert os.listdir(path.parent) == [path.name]


@pytest.mark.skipif(sys.platform == "win32", reason="needs fork")
def test_a_kill_while_saving_leaves_a_whole_file(path):
    """Twelve writers are killed at odd moments; each time the file is whole and from one save."""
    done = run(
        """
        import os, random, signal, sys, time
        from pathlib import Path
        import torch
        from bottega.training import checkpoint
        torch.set_num_threads(1)  # a forked child has none of its parent's others
        path = Path(sys.argv[1])
        save = lambda k: checkpoint.save(path, {"a": torch.full((300_000,), float(k))}, {"step": k})
        save(0)
        random.seed(0)
        seen = []
        for _ in range(12):
            begun, say = os.pipe()
            child = os.fork()
            if child == 0:
                step = seen[-1] if seen else 0
                while True:
                    step += 1
                    save(step)
                    os.write(say, b".")
            os.read(begun, 1)  # however busy the machine is, one save is done
            time.sleep(random.uniform(0.005, 0.1))
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            tensors, header = checkpoint.load(path)
            assert (tensors["a"] == header["step"]).all(), header
            seen.append(header["step"])
        print(seen[-1])
        """,
        path,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) >= 12
