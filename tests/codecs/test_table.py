"""Tables come back with their kinds, ranges, categories, decimals and gaps, and bad ones are refused in one line."""

import csv
import datetime as dt
import gzip
import json
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import ks_2samp

from bottega.codecs.table import TableCodec
from bottega.core import DataError, Item, OutputError, RecipeError, Spec
from helpers import SHARED

FORMS = ("tokens", "mixed")


def rows_of(n=400, seed=0):
    rng = np.random.default_rng(seed)
    first = dt.date(2020, 1, 1)
    out = []
    for i in range(n):
        gain = 0.0 if rng.random() < 0.8 else round(float(rng.lognormal(5, 1)), 2)
        out.append(
            {
                "age": int(rng.integers(17, 91)),
                "income": None if rng.random() < 0.1 else round(float(rng.normal(1000, 300)), 2),
                "gain": gain,
                "job": None if rng.random() < 0.05 else "abc"[int(rng.integers(3))],
                "paid": bool(rng.random() < 0.4),
                "day": first + dt.timedelta(days=int(rng.integers(900))),
                "seen": dt.datetime(2021, 5, 1) + dt.timedelta(seconds=int(rng.integers(10**7))),
                "unit": "kg",
                "label": i % 2 + 1,
            }
        )
    return [Item(row) for row in out]


@pytest.mark.parametrize("form", FORMS)
def test_rows_come_back(form):
    items = rows_of()
    codec = TableCodec(form=form, target="label").fit(items)
    batch = codec.encode(items)
    back = [item.value for item in codec.decode(batch.x)]
    assert [list(row) for row in back[:1]] == [list(items[0].value)]  # the file's order of columns
    for name in items[0].value:
        real, made = [i.value[name] for i in items], [row[name] for row in back]
        assert [v is None for v in real] == [v is None for v in made]
        assert {type(v) for v in real} == {type(v) for v in made}
        if name in {"job", "paid", "unit", "label"}:
            assert real == made
    if form == "mixed":  # float32 is the only loss, and these columns need fewer digits
        assert back == [i.value for i in items] or all(
            abs((a["seen"] - b.value["seen"]).total_seconds()) < 2
            and {k: v for k, v in a.items() if k != "seen"} == {k: v for k, v in b.value.items() if k != "seen"}
            for a, b in zip(back, items, strict=True)
        )
    assert codec.notes == ["column 'unit' is always 'kg': kept as it is, not modelled"]
    assert torch.equal(codec.encode(codec.decode(batch.x)).x, batch.x) or form == "mixed"


@pytest.mark.parametrize("form", FORMS)
@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_any_tensor_is_a_valid_row(form, data):
    """Kinds, ranges, category sets, decimals, whole numbers and which columns may have gaps: of whatever a model makes."""
    n = data.draw(st.integers(2, 60))
    gaps = data.draw(st.booleans())

    def column(values):
        fill = st.none() | values if gaps else values
        return data.draw(st.lists(fill, min_size=n, max_size=n).filter(lambda v: any(x is not None for x in v)))

    decimals = data.draw(st.integers(1, 4))
    columns = {
        "whole": column(st.integers(-(10**6), 10**6)),
        "real": column(st.floats(-1e4, 1e4).map(lambda v: round(v, decimals))),
        "name": column(st.sampled_from(["", "é", "a,b", '"', "long name", "7"])),
        "yes": column(st.booleans()),
        "day": column(st.dates(dt.date(1900, 1, 1), dt.date(2100, 1, 1))),
    }
    items = [Item(dict(zip(columns, row, strict=True))) for row in zip(*columns.values(), strict=True)]
    items.append(Item({**items[0].value, "name": "b" if columns["name"][0] != "b" else "c"}))  # something varies
    for name in columns:
        columns[name].append(items[-1].value[name])
    codec = TableCodec(form=form, bins=8).fit(items)
    g = torch.Generator().manual_seed(data.draw(st.integers(0, 99)))
    if form == "tokens":
        x = torch.stack([torch.randint(b.start, b.start + b.width, (50,), generator=g) for b in codec.spec.blocks], 1)
    else:
        x = 1.5 * torch.randn(50, *codec.spec.shape, generator=g)
    again = TableCodec(form=form, bins=8).load_state(json.loads(json.dumps(codec.state())))
    assert again.spec == codec.spec
    assert [i.value for i in again.decode(x)] == [i.value for i in codec.decode(x)]
    for name, real in columns.items():
        made = [i.value[name] for i in codec.decode(x)]
        known = [v for v in real if v is not None]
        if None not in real:
            assert None not in made
        kept = [v for v in made if v is not None]
        assert {type(v) for v in kept} <= {type(v) for v in known}
        assert all(min(known) <= v <= max(known) for v in kept)
        if name in {"name", "yes"}:
            assert set(kept) <= set(known)
        if name == "real":
            digits = next(d for d in range(1, 13) if all(round(v, d) == v for v in known))
            assert all(round(v, digits) == v for v in kept)
    exact = codec.decode(codec.encode(items).x)
    for name in ("name", "yes"):
        assert [i.value[name] for i in exact] == columns[name]
    for name in columns:
        assert [i.value[name] is None for i in exact] == [v is None for v in columns[name]]


def test_tokens_lie_in_their_blocks_and_keep_marginals():
    rng = np.random.default_rng(1)
    x = np.where(rng.random(20_000) < 0.5, 0.0, rng.lognormal(3, 2, 20_000).round(3))
    codec = TableCodec(bins=64)
    items = [Item({"x": float(v), "y": int(i % 3)}) for i, v in enumerate(x)]
    batch = codec.fit(items).encode(items)
    for i, block in enumerate(codec.spec.blocks):
        assert ((batch.x[:, i] >= block.start) & (batch.x[:, i] < block.start + block.width)).all()
        assert (batch.x[:, i] == batch.x[:, i].max()).any()
    assert codec.spec.vocab == sum(b.width for b in codec.spec.blocks)
    assert [b.name for b in codec.spec.blocks] == ["x", "x (within its bin)", "y"]
    back = np.array([i.value["x"] for i in codec.decode(batch.x)])
    assert ((back == 0) == (x == 0)).all()  # a point mass is a token of its own
    assert ks_2samp(back, x).statistic < 1 / (32 * 64)


def test_mixed_numbers_are_mode_specific():
    rng = np.random.default_rng(0)
    x = np.where(rng.random(3000) < 0.3, rng.normal(-50, 1, 3000), rng.normal(100, 10, 3000))
    x[:600] = 7.0
    items = [Item({"x": None if i % 10 == 9 else float(v)}) for i, v in enumerate(x)]
    codec = TableCodec(form="mixed").fit(items)
    (block,) = codec.spec.blocks
    column = codec.columns[0]
    assert block.kind == "mixture"
    assert block.width == 1 + len(column.means) + 1  # the number, the modes, the gap
    assert column.scales[0] == 0  # the value 7 is a mode of its own
    assert column.means[0] == 7.0
    batch = codec.encode(items).x
    assert batch[:, 0].abs().max() <= 1
    assert (batch[:, 1:].sum(1) == 1).all()
    for k in range(len(column.means)):
        assert (batch[:, 1 + k] == 1).any()
    spread = batch[(batch[:, 1] == 0) & (batch[:, -1] == 0), 0].std()
    assert 0.1 < spread < 0.6  # 4 sigma are 1, by CTGAN's equation


def test_one_distinct_mode_is_a_scalar_and_few_values_are_choices():
    rng = np.random.default_rng(0)
    items = [Item({"x": float(v), "few": int(i % 4)}) for i, v in enumerate(rng.normal(size=500))]
    codec = TableCodec(form="mixed", modes=1).fit(items)
    assert [(b.kind, b.width) for b in codec.spec.blocks] == [("scalar", 1), ("choice", 4)]
    back = codec.decode(codec.encode(items).x)
    assert np.allclose([i.value["x"] for i in back], [i.value["x"] for i in items], atol=1e-6)


def test_target_moves_last_and_a_column_can_be_the_condition():
    items = rows_of()
    codec = TableCodec(target="age", cond="job").fit(items)
    assert [b.name for b in codec.spec.blocks[-2:]] == ["age", "age (within its bin)"]
    assert codec.spec.cond == Spec((), vocab=4)  # a, b, c, missing
    assert "job" not in {b.name for b in codec.spec.blocks}
    batch = codec.encode(items)
    back = codec.decode(batch.x, batch.cond)
    assert [i.value["job"] for i in back] == [i.value["job"] for i in items]
    assert list(back[0].value) == list(items[0].value)
    assert codec.encode_cond(["b", None]).tolist() == [1, -1]
    assert codec.decode(batch.x[:2], codec.encode_cond(["b", None]))[1].value["job"] is None
    with pytest.raises(RecipeError, match="no value 'x'; known: , a, b, c"):
        codec.encode_cond(["x"])
    with pytest.raises(DataError, match="'income' has too many values to ask for"):
        TableCodec(cond="income").fit(items)


def test_what_fitting_never_saw_is_told():
    codec = TableCodec().fit([Item({"a": v, "b": w}) for v, w in zip("xxxy", (1, 2, 3, 4), strict=True)])
    with pytest.warns(UserWarning, match="column 'a' has 'z' .* never seen in fitting; it counts as the rarest one"):
        batch = codec.encode([Item({"a": "z", "b": 1})])
    assert codec.decode(batch.x)[0].value == {"a": "y", "b": 1}
    with pytest.warns(UserWarning, match="column 'b' has a gap"):
        codec.encode([Item({"a": "x", "b": None})])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert codec.decode(codec.encode([Item({"a": "x", "b": 99})]).x)[0].value["b"] == 4  # never out of range
    with pytest.raises(DataError, match="a row lacks column 'b'"):
        codec.encode([Item({"a": "x"})])
    with pytest.raises(DataError, match="column 'b' holds 'three', which is not a integer"):
        codec.encode([Item({"a": "x", "b": "three"})])


def write(path, text, encoding="utf-8"):
    path.write_bytes(text.encode(encoding))
    return path


def test_kinds_are_read_from_text(tmp_path):
    path = write(
        tmp_path / "t.csv",
        "\ufeffn,f,c,b,d,t,zip,sci\n"
        "1,1.50,x,true,2020-01-31,2020-01-01 10:00:00,01234,1e-3\n"
        "-2,2.25,,false,2021-02-03,2020-01-02 11:00:00,99999,2e-3\n"
        'NA,3.00,"a,b",true,,2020-01-03 12:00:00,00001,5e-1\n',
    )
    codec = TableCodec()
    items = codec.read(path)
    assert items[1].value == {
        "n": -2, "f": 2.25, "c": None, "b": False, "d": dt.date(2021, 2, 3), "t": dt.datetime(2020, 1, 2, 11),
        "zip": "99999", "sci": 0.002,
    }  # fmt: skip
    assert items[2].value["c"] == "a,b"
    assert items[2].value["n"] is None
    codec.fit(items)
    assert {c.name: c.kind for c in codec.columns} == {
        "n": "integer", "f": "number", "c": "category", "b": "boolean", "d": "date", "t": "datetime", "zip": "category",
        "sci": "number",
    }  # fmt: skip
    out = codec.write_all(items, tmp_path / "out", {"generator": "bottega", "seed": "3"})
    with out.open(newline="") as file:
        again = list(csv.reader(file))
    assert again[1] == ["1", "1.50", "x", "true", "2020-01-31", "2020-01-01 10:00:00", "01234", "0.001"]
    assert again[3][0] == ""
    told = json.loads((tmp_path / "out.csv-metadata.json").read_text())
    assert told["notes"] == [{"generator": "bottega", "seed": "3"}]
    assert told["tableSchema"]["columns"][1]["datatype"] == "decimal"
    assert [i.value for i in codec.read(out)] == [i.value for i in items]
    one = codec.write(items[0], tmp_path / "one.csv")
    assert one.read_text().count("\n") == 2


def test_a_fitted_codec_reads_as_it_was_fitted(tmp_path):
    codec = TableCodec()
    codec.fit(codec.read(write(tmp_path / "a.csv", "code,x\n01,1.5\nb,2.5\n01,2.0\n")))
    rows = codec.read(write(tmp_path / "b.csv", "code,x\n1,2\n2,1\n"))
    assert [i.value for i in rows] == [{"code": "1", "x": 2.0}, {"code": "2", "x": 1.0}]
    with pytest.raises(DataError, match=r"c.csv, row 2: column 'x' holds 'many', which is not a number"):
        codec.read(write(tmp_path / "c.csv", "code,x\n1,2\n2,many\n"))


def test_other_formats(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    wanted = [{"a": 1, "b": "x", "d": dt.date(2020, 1, 1)}, {"a": None, "b": "y", "d": dt.date(2020, 1, 2)}]
    pq.write_table(pa.Table.from_pylist(wanted), tmp_path / "t.parquet")
    lines = "".join(json.dumps({**row, "d": str(row["d"])}) + "\n" for row in wanted)
    write(tmp_path / "t.jsonl", lines)
    write(tmp_path / "t.tsv", "a\tb\td\n1\tx\t2020-01-01\n\ty\t2020-01-02\n")
    with gzip.open(tmp_path / "t.csv.gz", "wt") as file:
        file.write("a,b,d\n1,x,2020-01-01\n,y,2020-01-02\n")
    for name in ("t.parquet", "t.jsonl", "t.tsv", "t.csv.gz"):
        assert [i.value for i in TableCodec().read(tmp_path / name)] == wanted, name
    (tmp_path / "both").mkdir()
    for name in ("t.tsv", "t.jsonl"):
        (tmp_path / name).rename(tmp_path / "both" / name)
    assert [i.value for i in TableCodec().read(tmp_path / "both")] == wanted * 2


@pytest.mark.parametrize(
    ("name", "text", "match"),
    [
        ("a.csv", "", "a.csv is empty; give a table with a header and rows"),
        ("a.csv", "x,y\n", "a header but no rows"),
        ("a.csv", "x,y\n1,2\n3,4,5\n", "line 3: 3 fields where the header has 2; mend the line"),
        ("a.csv", 'x,y\n"a\nb",2\n3\n', "line 4: 1 fields where the header has 2"),
        ("a.csv", "x,y,x\n1,2,3\n", "two columns are called 'x'; rename one"),
        ("a.csv", "x,,z\n1,2,3\n", "column 2 has no name; name it in the first line"),
        ("a.csv", "x;y\n1;2\n", "if ';' parts its fields, say --set codec.separator=';'"),
        ("a.csv", "d\n01/02/2020\n03/04/2020\n", "day and month cannot be told apart; say --set codec.kinds="),
        ("a.xlsx", "x", "is no table Bottega knows; give .csv"),
        ("a.csv.gz", "no gzip", "is truncated or no gzip file"),
        ("a.parquet", "no parquet", "is truncated or no Parquet file"),
        ("a.jsonl", '{"a": 1}\n{"a": \n', "line 2: not JSON"),
        ("a.jsonl", "[1]\n", "line 1: a list, not an object"),
        ("a.jsonl", '{"a": [1]}\n', "line 1: 'a' holds a list; flatten it"),
        ("a.jsonl", "\n", "is empty; give one JSON object for each row"),
    ],
)
def test_bad_files(tmp_path, name, text, match):
    with pytest.raises(DataError, match=match) as caught:
        TableCodec().read(write(tmp_path / name, text))
    assert "\n" not in str(caught.value)


def test_what_is_said_of_bad_json_lines(tmp_path):
    """The text codec reads them with the same function and says it in its own words."""
    for text, said in (
        ('\n{"a": "{}"}\r\n{"a": \n', "line 3: not JSON (Expecting value); every line must be one object"),
        ("[" * 100_000, "line 1: not JSON (brackets without end); every line must be one object"),
        ("\n[1]\n", "line 2: a list, not an object; write {column: value}"),
    ):
        path = write(tmp_path / "t{1}.jsonl", text)
        with pytest.raises(DataError) as caught:
            TableCodec().read(path)
        assert str(caught.value) == f"{path}, {said}"


def test_bad_places(tmp_path):
    with pytest.raises(DataError, match=r"cannot read .*none.csv: No such file"):
        TableCodec().read(tmp_path / "none.csv")
    with pytest.raises(DataError, match="holds no table; give a file or folder with"):
        TableCodec().read(tmp_path)
    with pytest.raises(DataError, match=r"latin.csv is not UTF-8 \(byte 9\); save it as UTF-8"):
        TableCodec().read(write(tmp_path / "latin.csv", "x\na\nb\nbla\xe9\n", "latin-1"))
    (tmp_path / "two").mkdir()
    write(tmp_path / "two" / "a.csv", "x\n1\n")
    write(tmp_path / "two" / "b.csv", "y\n1\n")
    with pytest.raises(DataError, match=r"b.csv has other columns than a.csv"):
        TableCodec().read(tmp_path / "two")
    codec = TableCodec().fit([Item({"x": 1}), Item({"x": 2})])
    with pytest.raises(OutputError, match="cannot write .*; choose another place with --out"):
        codec.write(Item({"x": 1}), tmp_path / "two" / "a.csv" / "c.csv")


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("columns", "arguments", "match"),
    [
        ({"x": [1, 2], "y": [None, None]}, {}, "column 'y' has no values at all; leave it out with --set codec.drop="),
        ({"x": [None, None]}, {}, "column 'x' has no values at all"),
        ({"x": [5, 5], "y": ["a", "a"]}, {}, "no column of the table varies, so there is nothing to model"),
        ({"x": [1]}, {}, "the table has 1 rows; at least 2"),
        ({"x": []}, {}, "the table has no rows"),
        (
            {"x": [1, 2], "klass": [0, 1]},
            {"target": "class"},
            "no column 'class' for codec.target; did you mean 'klass'",
        ),
        ({"x": [1, 2]}, {"cond": "job"}, "no column 'job' for codec.cond; known: x"),
        ({"x": [1, 2]}, {"drop": ["y"]}, "no column 'y' to drop"),
        ({"id": [f"u{i}" for i in range(30)]}, {}, "column 'id' has 30 different texts in 30 rows.*would be memorised"),
        ({"c": [str(i % 50) for i in range(200)]}, {"most": 40}, "column 'c' has 50 categories, more than 40"),
        ({"x": [1, "a"]}, {}, "column 'x' holds values of kinds int, str; make them one kind"),
        ({"x": [1.0, float("inf")]}, {}, "column 'x' holds an infinite number"),
        ({"x": [1, 10**400]}, {}, "column 'x' holds a number too large"),
        (
            {"t": [dt.datetime(2020, 1, 1, tzinfo=dt.UTC)] * 2},
            {},
            "column 't' holds times with a time zone; write them in UTC without one",
        ),
    ],
)
def test_bad_tables(form, columns, arguments, match):
    items = [Item(dict(zip(columns, row, strict=True))) for row in zip(*columns.values(), strict=True)]
    with pytest.raises(DataError, match=match) as caught:
        TableCodec(form=form, **arguments).fit(items)
    assert "\n" not in str(caught.value)


def test_the_mends_work():
    ids = [Item({"id": f"u{i}", "x": i % 3}) for i in range(30)]
    codec = TableCodec(drop=["id"]).fit(ids)
    assert codec.header == ["x"]
    numbers = [Item({"zip": 1000 + i % 5}) for i in range(30)]
    assert TableCodec(kinds=["zip:category"]).fit(numbers).columns[0].kind == "category"
    assert TableCodec(kinds=["zip:number"]).fit(numbers).decode(torch.zeros(1, 1, dtype=torch.int64))[0].value == {
        "zip": 1000.0
    }


def test_slashed_dates_by_their_said_format(tmp_path):
    path = write(tmp_path / "a.csv", "d,x\n01/02/2020,1\n03/04/2020,2\n")
    codec = TableCodec(kinds=["d:date %d/%m/%Y"])
    items = codec.read(path)
    assert items[0].value["d"] == dt.date(2020, 2, 1)
    out = codec.fit(items).write_all(items, tmp_path / "b.csv")
    assert out.read_text() == path.read_text()
    sure = write(tmp_path / "c.csv", "d\n31/02/2020\n30/04/2020\n".replace("31/02", "31/01"))
    assert TableCodec().read(sure)[0].value["d"] == dt.date(2020, 1, 31)


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"form": "rows"}, "codec.form is 'rows'; use 'tokens' or 'mixed'"),
        ({"bins": 1}, "codec.bins=1"),
        ({"kinds": ["zip=text"]}, "codec.kinds has 'zip=text'; write 'name:kind'"),
        ({"separator": "::"}, "it must be one character"),
    ],
)
def test_bad_arguments(arguments, match):
    with pytest.raises(RecipeError, match=match):
        TableCodec(**arguments)


def test_show_takes_names_and_numbers_as_they_come(tmp_path):
    rows = [
        Item({"cost $ per $_^": 10.0 ** (i - 20), "band": ("$%$ a", "$^$ b")[i % 2], "near": 1 + i * 2e-16})
        for i in range(60)
    ]
    codec = TableCodec(form="mixed").fit(rows)
    assert codec.show(rows[:1], tmp_path / "one").exists()
    assert codec.show(rows, tmp_path / "all", against=rows).exists()


def test_show(tmp_path):
    items = rows_of(60)
    codec = TableCodec().fit(items)
    alone = codec.show(items, tmp_path / "sheet")
    beside = codec.show(items, tmp_path / "both.png", against=items[:30])
    from PIL import Image

    for path in (alone, beside):
        with Image.open(path) as picture:
            assert picture.format == "PNG"
            assert np.asarray(picture.convert("L")).std() > 5


@pytest.mark.shared
def test_adult_is_read_encoded_and_decoded_exactly():
    path = SHARED / "fairness_tables" / "adult.csv.gz"
    if not path.exists():
        pytest.skip(f"{path} is not there")
    codec = TableCodec(target="Class")
    items = codec.read(path)
    back = codec.decode(codec.fit(items).encode(items).x)
    assert len(items) == 35_990
    for name in codec.header:
        real, made = [i.value[name] for i in items], [i.value[name] for i in back]
        if name == "fnlwgt":
            assert ks_2samp(real, made).statistic < 1 / 2048
        else:
            assert real == made


@pytest.mark.parametrize("form", ["tokens", "mixed"])
def test_an_edit_makes_the_empty_cells_and_keeps_the_others_as_they_stand(form):
    rng = np.random.default_rng(0)
    rows = [
        Item({"age": 20 + i % 50, "job": "abc"[i % 3], "paid": round(float(rng.normal(500, 100)), 2)})
        for i in range(300)
    ]
    codec = TableCodec(form=form).fit(rows)
    given = Item({"age": None, "job": "b", "paid": 433.37})
    batch, keep = codec.start_edit(given)
    assert batch.x.shape == keep.shape == (1, *codec.spec.shape)
    some = codec.encode(rows[:40]).x
    made = codec.restore(codec.decode(torch.where(keep, batch.x, some)), given)
    assert {(i.value["job"], i.value["paid"]) for i in made} == {("b", 433.37)}
    assert [i.value["age"] for i in made] == [r.value["age"] for r in rows[:40]]
    assert codec.start_edit(Item({"job": "b", "paid": 433.37}))[1].equal(keep), "an absent column is an empty one"


def test_an_edit_that_means_nothing_is_refused(tmp_path):
    rows = [Item({"age": 20 + i % 50, "job": "abc"[i % 3]}) for i in range(100)]
    codec = TableCodec().fit(rows)
    with pytest.raises(DataError, match="no cell of the row is empty"):
        codec.start_edit(rows[0])
    with pytest.raises(DataError, match="never seen in training; leave it empty, or give one of a, b, c"):
        codec.start_edit(Item({"job": "d"}))
    with pytest.raises(DataError, match="no column 'jop'; did you mean 'job'"):
        codec.start_edit(Item({"jop": "a"}))
    with pytest.raises(RecipeError, match="--mask"):
        codec.start_edit(Item({"job": "a"}), tmp_path / "mask.png")
    (tmp_path / "two.csv").write_text("age,job\n30,\n31,\n")
    with pytest.raises(DataError, match="has 2 rows; give a table of one row"):
        codec.start_edit(tmp_path / "two.csv")
