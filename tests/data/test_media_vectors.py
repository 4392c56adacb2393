"""Pictures and sounds as vectors: what is read, what a vector holds, what is kept and told."""

import colorsys
import json
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip("skimage")
pytest.importorskip("soundfile")
from media_tools import RATE, write_picture, write_sound
from PIL import Image

from recbole_diffusion.base.errors import UserError
from recbole_diffusion.base.files import one_at_a_time
from recbole_diffusion.commands.encode import main
from recbole_diffusion.data import media_vectors as module
from recbole_diffusion.data.features import load_item_features
from recbole_diffusion.data.media import Sound, open_picture, open_sound
from recbole_diffusion.data.media_vectors import media_vectors
from recbole_diffusion.data.plain_vectors import picture_vector, sound_vector
from recbole_diffusion.data.split import load_split
from recbole_diffusion.settings.config import Config

N = 13
HEAD = ["user_id:token", "item_id:token"]
PAIRS = [[f"u{u}", f"i{(u + i) % 12}"] for u in range(6) for i in range(10)]
FILES = {f"i{i}": (f"media/{i}.png", f"media/{i}.wav") for i in range(N)}
KINDS = {"images": "picture", "sounds": "sound"}
SMALL = {"topk": [1, 2], "valid_metric": "Recall@2", "show_progress": False}


@pytest.fixture
def mine(write_dataset: Callable[..., Path], tmp_path: Path, monkeypatch: Any) -> Path:
    """A data set whose items have a picture and a sound each, but for the last, whose are blank."""
    monkeypatch.chdir(tmp_path)
    rows = [[item, *paths] for item, paths in FILES.items()]
    rows[-1][1:] = "", ""
    head = ["item_id:token", "picture:token", "sound:token"]
    path = write_dataset("mine", inter=[HEAD, *PAIRS], item=[head, *rows])
    (path / "mine" / "media").mkdir()
    draw = np.random.default_rng(0)
    for n in range(N):
        write_picture(path / "mine" / FILES[f"i{n}"][0], n % 5, draw)
        write_sound(path / "mine" / FILES[f"i{n}"][1], n % 5, draw)
    return path


def settings(path: Path, **options: Any) -> Config:
    features = {"item_features": {"it": options}} if options else {}
    overrides = {"data_path": str(path), **SMALL, **features}
    return Config("BPR", "mine", (), overrides)


def vectors(path: Path, kind: str, place: str | None = None, **keys: Any) -> dict[str, np.ndarray]:
    table = media_vectors(settings(path), kind, place or KINDS[kind], **keys).table
    matrix = np.zeros((len(table.ids), table.width), np.float32)
    for rows, columns, values in table.blocks:
        matrix[rows, columns] = values
    return dict(zip(table.ids.tolist(), matrix, strict=True))


# What a vector holds


def test_colours_are_shares_of_pixels() -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (128, 128, 3)).astype(np.uint8)
    found = picture_vector(Image.fromarray(pixels))
    hsv = np.array([colorsys.rgb_to_hsv(*p) for p in pixels.reshape(-1, 3) / 255])
    hue = np.zeros(12)
    np.add.at(hue, np.minimum((hsv[:, 0] * 12).astype(int), 11), hsv[:, 1])
    tones = [np.bincount(np.minimum((hsv[:, c] * 8).astype(int), 7), minlength=8) for c in (1, 2)]
    expected = np.concatenate([hue, *tones]) / 128**2
    np.testing.assert_allclose(found[:28], expected, atol=2e-4)
    moments = [pixels.mean(axis=(0, 1)) / 255, pixels.std(axis=(0, 1)) / 255]
    np.testing.assert_allclose(found[28:34], np.concatenate(moments), rtol=1e-5)
    np.testing.assert_allclose([found[162:172].sum(), found[172:].sum()], 1, rtol=1e-5)


def test_edges_are_told_by_direction() -> None:
    stripes = np.tile((np.arange(128) // 8 % 2 * 255).astype(np.uint8), (128, 1))
    across, along = (
        picture_vector(Image.fromarray(x).convert("RGB"))[34:162].reshape(4, 4, 8)
        for x in (stripes, stripes.T)
    )
    # A gradient from left to right is of the first direction, one downwards of the middle one.
    assert (across.argmax(axis=2) == 0).all()
    assert (along.argmax(axis=2) == 4).all()


def test_sounds_are_cepstra() -> None:
    """Against the textbook's steps, one frame after the other."""
    samples = np.random.default_rng(2).normal(size=4000).astype(np.float32)
    to_mel = np.vectorize(
        lambda f: f * 3 / 200 if f < 1000 else 15 + 27 * np.log(f / 1000) / np.log(6.4)
    )
    to_hertz = np.vectorize(
        lambda m: m * 200 / 3 if m < 15 else 1000 * np.exp(np.log(6.4) * (m - 15) / 27)
    )
    edges = to_hertz(np.linspace(to_mel(0), to_mel(8000), 42))
    bins = np.linspace(0, 8000, 201)
    bank = np.zeros((40, 201))
    for n, (low, middle, high) in enumerate(zip(edges, edges[1:], edges[2:], strict=False)):
        rising, falling = (bins - low) / (middle - low), (high - bins) / (high - middle)
        bank[n] = np.maximum(0, np.minimum(rising, falling)) * 2 / (high - low)
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(400) / 400)
    waves = np.cos(np.pi * np.arange(20)[:, None] * (np.arange(40) + 0.5) / 40) * np.sqrt(2 / 40)
    waves[0] /= np.sqrt(2)
    frames = []
    for start in range(0, 4000 - 400 + 1, 160):
        power = np.abs(np.fft.rfft(window * samples[start : start + 400])) ** 2
        frames.append(waves @ (10 * np.log10(np.maximum(bank @ power, 1e-10))))
    cepstra = np.array(frames)
    changes = cepstra[1:] - cepstra[:-1]
    expected = [cepstra.mean(0), cepstra.std(0), changes.mean(0), changes.std(0)]
    found = sound_vector(Sound(samples, 16_000))
    np.testing.assert_allclose(found, np.concatenate(expected), rtol=1e-3, atol=1e-3)


def test_a_sound_of_another_rate_is_the_same_sound() -> None:
    at = {rate: np.sin(2 * np.pi * 440 * np.arange(rate) / rate) for rate in (44_100, 16_000)}
    found = Sound(at[44_100].astype(np.float32), 44_100).at(16_000)
    assert len(found) == 16_000
    np.testing.assert_allclose(found[200:-200], at[16_000][200:-200], atol=2e-3)


def test_pictures_are_upright_and_on_white(tmp_path: Path) -> None:
    clear = Image.new("RGBA", (4, 2), (200, 0, 0, 0))
    clear.save(tmp_path / "clear.png")
    assert open_picture(tmp_path / "clear.png").getpixel((0, 0)) == (255, 255, 255)
    turned = Image.new("RGB", (4, 2))
    exif = turned.getexif()
    exif[0x0112] = 6
    turned.save(tmp_path / "turned.jpg", exif=exif)
    assert open_picture(tmp_path / "turned.jpg").size == (2, 4)


def test_grey_of_16_bits_is_brought_to_8(tmp_path: Path) -> None:
    deep = np.linspace(0, 65535, 32 * 32).reshape(32, 32).astype(np.uint16)
    for name in ("deep.png", "deep.tif"):
        Image.fromarray(deep).save(tmp_path / name)
        found = np.asarray(open_picture(tmp_path / name))
        np.testing.assert_allclose(found, np.repeat(deep[..., None] / 257, 3, axis=2), atol=1)


@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_a_transparent_colour_is_white(tmp_path: Path, mode: str) -> None:
    colour = 5 if mode == "L" else (10, 20, 30)
    clear = Image.new(mode, (3, 2), colour)
    clear.putpixel((1, 1), 100 if mode == "L" else (100, 0, 0))
    clear.save(tmp_path / "clear.png", transparency=colour)
    found = open_picture(tmp_path / "clear.png")
    assert found.getpixel((0, 0)) == (255, 255, 255)
    assert found.getpixel((1, 1)) == ((100, 100, 100) if mode == "L" else (100, 0, 0))


def test_values_of_32_bits_are_refused(tmp_path: Path) -> None:
    for type_ in (np.float32, np.int32):
        Image.fromarray(np.ones((4, 4), type_)).save(tmp_path / "deep.tiff")
        with pytest.raises(ValueError, match="32 bits"):
            open_picture(tmp_path / "deep.tiff")


def test_a_picture_runs_no_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """PostScript is Ghostscript's, whatever its file is named."""
    monkeypatch.setattr("subprocess.check_call", lambda *_, **__: pytest.fail("ran a program"))
    monkeypatch.setattr("PIL.EpsImagePlugin.has_ghostscript", lambda: True)
    monkeypatch.setattr("PIL.EpsImagePlugin.gs_binary", "gs")
    (tmp_path / "script.jpg").write_bytes(
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n%%EOF\n"
    )
    with pytest.raises(OSError, match="cannot identify"):
        open_picture(tmp_path / "script.jpg")


def test_a_rate_may_be_any_but_an_absurd_one(tmp_path: Path) -> None:
    import soundfile

    samples = np.sin(2 * np.pi * 440 * np.arange(44_101) / 44_101).astype(np.float32)
    found = Sound(samples, 44_101).at(16_000)  # no common divisor
    expected = np.sin(2 * np.pi * 440 * np.arange(16_000) / 16_000)
    np.testing.assert_allclose(found[200:15_800], expected[200:15_800], atol=2e-2)
    soundfile.write(tmp_path / "absurd.wav", samples, 2**31 - 1)
    with pytest.raises(ValueError, match="rate of 2147483647 Hz"):
        open_sound(tmp_path / "absurd.wav")


def test_channels_are_averaged(tmp_path: Path) -> None:
    import soundfile

    both = np.stack([np.full(100, 0.5), np.full(100, -0.25)], axis=1)
    soundfile.write(tmp_path / "both.wav", both, RATE, subtype="FLOAT")
    np.testing.assert_allclose(open_sound(tmp_path / "both.wav").samples, 0.125)


# Which files


@pytest.mark.parametrize("kind", KINDS)
def test_a_column_and_a_folder_give_the_same(mine: Path, kind: str) -> None:
    by_column = vectors(mine, kind)
    assert list(by_column) == [f"i{i}" for i in range(N - 1)]
    folder = mine / "mine" / "by_id"
    folder.mkdir()
    for item, paths in FILES.items():
        source = mine / "mine" / paths[kind == "sounds"]
        (folder / f"{item}{source.suffix}").write_bytes(source.read_bytes())
    (folder / "notes.txt").write_text("no file of an item")
    by_folder = vectors(mine, kind, "by_id")
    assert set(by_folder) == set(FILES)
    for item, vector in by_column.items():
        np.testing.assert_array_equal(by_folder[item], vector)


@pytest.mark.parametrize("kind", KINDS)
def test_missing_and_broken_files_are_told_and_filled(
    mine: Path, kind: str, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    gone, cut = (mine / "mine" / FILES[item][kind == "sounds"] for item in ("i2", "i5"))
    gone.unlink()
    cut.write_bytes(cut.read_bytes()[:30])
    options = {kind: KINDS[kind], "missing": "zero", "max_missing": 0.5}
    config = settings(mine, **options)
    data = load_split(config).train._dataset
    matrix = load_item_features(config, data, "it")
    tokens = data.field2id_token["item_id"].tolist()
    assert [tokens[row] for row in np.flatnonzero(~matrix[1:].any(axis=1)) + 1] == ["i2", "i5"]
    assert f"{cut}: cannot be read" in caplog.text
    told = f"; {kind} missing of 1 id ('i2'); {kind} broken of 1 id ('i5')"
    with pytest.raises(UserError, match=r"2 ids \('i2', 'i5'\) of 12 items") as error:
        load_item_features(settings(mine, **{kind: KINDS[kind]}), data, "it")
    assert told in str(error.value)
    words = ["--dataset=mine", f"--data_path={mine}", f"--{kind}={KINDS[kind]}"]
    assert main(words) == 0
    out = capsys.readouterr().out
    assert "i2: its file not there\ni5: its file cannot be read\n" in out
    name = {"images": "image", "sounds": "sound"}[kind]
    assert f"item_features:\n  {name}: {{{kind}: {KINDS[kind]}, scale: standard}}\n" in out


def test_what_is_no_plain_file_is_missing(mine: Path) -> None:
    media = mine / "mine" / "media"
    (media / "folder.png").mkdir()
    (media / "dangling.png").symlink_to("nowhere")
    os.mkfifo(media / "pipe.png")  # opened, it would wait for a writer
    found = media_vectors(settings(mine), "images", "media")
    assert set(found.table.ids) == {str(n) for n in range(N)}
    assert found.missing.tolist() == ["dangling", "folder", "pipe"]


def test_names_are_told_on_one_line(mine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (mine / "mine" / "media" / "a\nb\x1b[31m.png").write_bytes(b"")
    assert main(["--dataset=mine", f"--data_path={mine}", "--images=media"]) == 0
    assert "a\\nb\\x1b[31m: its file cannot be read\n" in capsys.readouterr().out


def test_a_file_that_may_not_be_read_is_told(
    mine: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    shut, opened = mine / "mine" / FILES["i4"][0], Path.open

    def refusing(path: Path, *words: Any, **others: Any) -> Any:
        if path == shut:
            raise PermissionError(13, "Permission denied", str(path))
        return opened(path, *words, **others)

    def read(path: Path) -> Any:
        return refusing(path) if path == shut else open_picture(path)

    kinds = {**module.KINDS, "images": module.KINDS["images"]._replace(open=read)}
    with monkeypatch.context() as patched:
        patched.setattr(Path, "open", refusing)
        patched.setattr(module, "KINDS", kinds)
        assert media_vectors(settings(mine), "images", "picture").broken.tolist() == ["i4"]
    assert f"{shut}: cannot be read ([Errno 13] Permission denied" in caplog.text
    assert "i4" in vectors(mine, "images")  # once it may be


def test_a_file_that_stops_the_encoder_is_left_out(
    mine: Path, caplog: pytest.LogCaptureFixture
) -> None:
    import soundfile

    loud = mine / "mine" / FILES["i4"][1]
    soundfile.write(loud, np.full(8000, 1e30), RATE, subtype="FLOAT")
    found = media_vectors(settings(mine), "sounds", "sound")
    assert found.broken.tolist() == ["i4"]
    assert f"{loud}: cannot be encoded (found NaN or infinite values)" in caplog.text


def test_nothing_is_left_where_no_file_can_be_read(mine: Path) -> None:
    with pytest.raises(UserError, match="none of 12 images can be read"):
        vectors(mine, "images", "sound")
    assert not list((mine / "mine").glob("mine.images-*"))


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"images": "nowhere"}, "found 'nowhere', expected a column of mine.item that holds paths"),
        ({"images": "sound"}, "none of 12 images can be read"),
        (
            {"sounds": "media", "encoder": "nowhere"},
            "encoder: found 'nowhere', expected the folder",
        ),
        ({"images": "media", "fields": ["picture"]}, "found .*expected one of"),
        ({"images": 3}, "images: found 3, expected a text"),
        ({"file": "a.npz", "encoder": "mfcc"}, "'fields' or 'images' or 'sounds' only"),
    ],
)
def test_what_cannot_be_encoded_is_refused(mine: Path, options: dict[str, Any], told: str) -> None:
    with pytest.raises(UserError, match=told):
        load_item_features(settings(mine, **options), None, "it")


def test_two_files_of_an_item_are_refused(mine: Path) -> None:
    write_picture(mine / "mine" / "media" / "3.jpg", 0, np.random.default_rng(0))
    with pytest.raises(UserError, match=r"media: ids given more than once: 1 id \('3'\)"):
        vectors(mine, "images", "media")


# What is kept


def test_what_a_killed_process_made_is_gone_on_from(
    mine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = vectors(mine, "images", "media")
    next((mine / "mine").glob("*.images-*.npz")).unlink()
    monkeypatch.setattr(module, "PART", 4)
    read: list[Path] = []

    def opened(path: Path) -> Any:
        if len(read) == 6:
            raise KeyboardInterrupt
        read.append(path)
        return open_picture(path)

    monkeypatch.setitem(module.KINDS, "images", module.KINDS["images"]._replace(open=opened))
    with pytest.raises(KeyboardInterrupt):
        vectors(mine, "images", "media")
    monkeypatch.setitem(
        module.KINDS,
        "images",
        module.KINDS["images"]._replace(open=lambda path: read.append(path) or open_picture(path)),
    )
    again = vectors(mine, "images", "media")
    assert len(read) == 6 + N - 4  # the first part of four was there
    assert again.keys() == whole.keys()
    for item, vector in whole.items():
        np.testing.assert_array_equal(again[item], vector)
    assert not list((mine / "mine").glob("*.parts"))


def test_processes_wait_for_the_one_that_encodes(
    mine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = vectors(mine, "images")
    cached = next((mine / "mine").glob("*.images-*.npz"))
    content = cached.read_bytes()
    cached.unlink()
    refused = module.KINDS["images"]._replace(open=lambda path: pytest.fail("opened again"))
    monkeypatch.setitem(module.KINDS, "images", refused)
    with ThreadPoolExecutor(1) as pool:
        with one_at_a_time(cached.with_suffix(".lock")):
            waiting = pool.submit(vectors, mine, "images")
            time.sleep(0.3)
            assert not waiting.done()
            cached.write_bytes(content)
        assert waiting.result().keys() == whole.keys()


def test_vectors_hang_on_the_contents_of_the_files(
    mine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = vectors(mine, "images")
    for path in (mine / "mine" / "media").iterdir():
        os.utime(path, (1, 1))
    kept = module.KINDS["images"]
    refused = kept._replace(open=lambda path: pytest.fail("opened again"))
    monkeypatch.setitem(module.KINDS, "images", refused)
    assert vectors(mine, "images").keys() == before.keys()
    monkeypatch.setitem(module.KINDS, "images", kept)
    write_picture(mine / "mine" / FILES["i4"][0], 1, np.random.default_rng(9))
    after = vectors(mine, "images")
    assert [item for item in after if not np.array_equal(after[item], before[item])] == ["i4"]


# Models of folders


def vit(folder: Path, **others: Any) -> Any:
    """A small model of pictures with what prepares its input; ``others``: of its class."""
    from transformers import ViTConfig, ViTImageProcessor, ViTModel

    torch.manual_seed(0)
    small = ViTConfig(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16,
        image_size=32, patch_size=8,
    )  # fmt: skip
    model = ViTModel(small, **others).eval()
    model.save_pretrained(folder)
    ViTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(folder)
    return model


@pytest.mark.parametrize("is_pooled", [True, False])
def test_a_model_of_pictures_gives_its_pooled_output(mine: Path, is_pooled: bool) -> None:
    model = vit(mine / "mine" / "vit", add_pooling_layer=is_pooled)
    found = vectors(mine, "images", encoder="vit", batch_size=5)
    picture = Image.open(mine / "mine" / FILES["i7"][0]).resize((32, 32), Image.Resampling.BILINEAR)
    pixels = (np.asarray(picture, dtype=np.float32) / 255 - 0.5) / 0.5
    with torch.no_grad():
        output = model(torch.from_numpy(pixels).permute(2, 0, 1).unsqueeze(0))
    # Without weights of its pooling, which would be drawn at random, the mean over places.
    expected = output.pooler_output if is_pooled else output.last_hidden_state.mean(dim=1)
    np.testing.assert_allclose(found["i7"], expected[0], atol=1e-5)


def test_a_model_of_pictures_and_texts_gives_what_it_compares(mine: Path) -> None:
    from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel

    tiny = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
            "intermediate_size": 16}  # fmt: skip
    small = CLIPConfig(
        text_config={**tiny, "vocab_size": 9},
        vision_config={**tiny, "image_size": 32, "patch_size": 8},
        projection_dim=6,
    )
    CLIPModel(small).save_pretrained(mine / "mine" / "clip")
    sizes = {"size": {"shortest_edge": 32}, "crop_size": {"height": 32, "width": 32}}
    CLIPImageProcessor(**sizes).save_pretrained(mine / "mine" / "clip")
    assert {len(vector) for vector in vectors(mine, "images", encoder="clip").values()} == {6}


def test_a_model_of_sounds_gives_its_mean_over_time(mine: Path) -> None:
    from transformers import Wav2Vec2Config, Wav2Vec2FeatureExtractor, Wav2Vec2Model

    small = Wav2Vec2Config(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16,
        conv_dim=(8, 8), conv_stride=(5, 4), conv_kernel=(10, 8), num_feat_extract_layers=2,
        num_conv_pos_embeddings=4, num_conv_pos_embedding_groups=2,
    )  # fmt: skip
    torch.manual_seed(0)
    model = Wav2Vec2Model(small).eval()
    model.save_pretrained(mine / "mine" / "wav")
    Wav2Vec2FeatureExtractor(sampling_rate=16_000).save_pretrained(mine / "mine" / "wav")
    found = vectors(mine, "sounds", encoder="wav")
    sound = open_sound(mine / "mine" / FILES["i3"][1]).at(16_000)
    sound = (sound - sound.mean()) / np.sqrt(sound.var() + 1e-7)
    with torch.no_grad():
        expected = model(torch.from_numpy(sound).unsqueeze(0)).last_hidden_state.mean(dim=1)
    np.testing.assert_allclose(found["i3"], expected[0], atol=1e-4)


def test_pickled_weights_are_refused(mine: Path) -> None:
    model = vit(mine / "mine" / "vit")
    (mine / "mine" / "vit" / "model.safetensors").unlink()
    torch.save(model.state_dict(), mine / "mine" / "vit" / "pytorch_model.bin")
    with pytest.raises(UserError, match="encoder .*vit"):
        vectors(mine, "images", encoder="vit")


def test_a_models_own_code_is_not_run(mine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever is at the terminal is not asked, since an answer would run it."""
    vit(mine / "mine" / "vit")
    path = mine / "mine" / "vit" / "config.json"
    own = {"model_type": "own", "auto_map": {"AutoConfig": "own.C", "AutoModel": "own.M"}}
    path.write_text(json.dumps({**json.loads(path.read_text()), **own}))
    ran = mine / "ran"
    path.with_name("own.py").write_text(f"open({str(ran)!r}, 'w').close()")
    monkeypatch.setattr("builtins.input", lambda *_: "y")
    with pytest.raises(UserError, match="encoder .*vit"):
        vectors(mine, "images", encoder="vit")
    assert not ran.exists()


def test_a_picture_that_stops_a_model_is_left_out(
    mine: Path, caplog: pytest.LogCaptureFixture
) -> None:
    vit(mine / "mine" / "vit")
    line = mine / "mine" / FILES["i4"][0]
    Image.new("RGB", (3000, 1)).save(line)
    Image.new("RGB", (3, 1)).save(mine / "mine" / FILES["i5"][0])  # three pixels or channels
    assert "i4" not in (found := vectors(mine, "images", encoder="vit"))
    assert len(found) == 11
    assert f"{line}: cannot be encoded (found 3000 x 1 pixels" in caplog.text


def test_a_model_that_wants_more_than_sounds_is_refused(mine: Path) -> None:
    from transformers import WhisperConfig, WhisperFeatureExtractor, WhisperModel

    tiny = {f"{part}_{name}": n for part in ("encoder", "decoder")
            for name, n in (("layers", 1), ("attention_heads", 2), ("ffn_dim", 16))}  # fmt: skip
    tokens = {f"{name}_token_id": 0 for name in ("pad", "bos", "eos", "decoder_start")}
    small = WhisperConfig(d_model=16, vocab_size=20, **tiny, **tokens)
    WhisperModel(small).save_pretrained(mine / "mine" / "whisper")
    WhisperFeatureExtractor().save_pretrained(mine / "mine" / "whisper")
    with pytest.raises(UserError, match="encoder .*whisper: of no use for sounds: .*decoder"):
        vectors(mine, "sounds", encoder="whisper")


def test_a_model_without_all_its_weights_is_refused(mine: Path) -> None:
    from safetensors.torch import load_file, save_file

    vit(mine / "mine" / "vit")
    path = mine / "mine" / "vit" / "model.safetensors"
    weights = load_file(path)
    weights.pop(next(name for name in weights if "layernorm" in name))
    save_file(weights, path, metadata={"format": "pt"})
    with pytest.raises(UserError, match="found no weights .*layernorm"):
        vectors(mine, "images", encoder="vit")


def test_absent_packages_are_named(mine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(
        UserError, match=r"images need PIL and skimage, .*recbole_diffusion\[media\]"
    ):
        vectors(mine, "images")


def test_the_command_counts_files_scales_columns_and_names_items_without_one(
    mine: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (mine / "mine" / FILES["i3"][0]).unlink()
    assert main(["--dataset=mine", f"--data_path={mine}", "--images=picture"]) == 0
    out, err = capsys.readouterr()
    assert f"{N - 2}/{N - 2} [" in err
    assert "items of the interactions without a picture: 1 of 12 (8.3%): i3; a run ref" in out
    assert out.endswith("item_features:\n  image: {images: picture, scale: standard}\n")
