"""Settings that would change a result without a word, or fail in RecBole's words, are refused."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from recbole.sampler.sampler import AbstractSampler

from recbole_diffusion.base.errors import UserError
from recbole_diffusion.commands.cli import main
from recbole_diffusion.data.negatives import NegativeSampler
from recbole_diffusion.runs.quick_start import run_recbole_diffusion
from recbole_diffusion.settings.config import Config
from recbole_diffusion.settings.values import as_yaml, parse_value
from recbole_diffusion.studies.compare.run import compare
from recbole_diffusion.studies.tune.storage import check_url

SHARES = "shares above 0"


def refusal(planted: dict[str, Any], model: str = "BPR", **keys: Any) -> str:
    with pytest.raises(UserError) as error:
        Config(model, "planted", (), {**planted, **keys})
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"NEG_PREFIX": ""}, ["`NEG_PREFIX`", "''"]),
        ({"config_files": "mine.yaml"}, ["`config_files`", "--config_files only"]),
        ({"train_neg_sample_args": {"sampel_num": 5}}, ["sampel_num", "sample_num a whole number"]),
        ({"train_neg_sample_args": {"distribution": "normal"}}, ["normal", "uniform or"]),
        ({"eval_args": {"split": {"LS": "valid_and_test"}, "group_by": "none"}}, ["LS", "by user"]),
        ({"train_neg_sample_args": {"distribution": "none"}}, ["'none'", "or null where"]),
        ({"train_neg_sample_args": {"distribution": "uniform", "alpha": 400}}, ["from -10 to 10"]),
        ({"eval_args": {"group_by": "USER"}}, ["USER", "group_by user or none"]),
        ({"eval_args": {"split": {"LS": "abc"}}}, ["'abc'", "valid_and_test"]),
        ({"eval_args": {"split": {"RS": [0, 0, 0]}}}, ["[0, 0, 0]", SHARES]),
        ({"eval_args": {"split": {"RS": [8, 1]}}}, ["[8, 1]", SHARES]),
        ({"eval_args": {"split": {"RS": 5}}}, ["5", SHARES]),
        ({"eval_args": {"split": {"RS": [8, 1, 1], "LS": "valid_and_test"}}}, ["one split of"]),
        ({"eval_args": {"split": {"XX": [1]}}}, ["XX", "one split of RS, LS"]),
        ({"eval_args": {"split": None}}, ["one split of RS, LS"]),
        ({"eval_args": {"order": "XX"}}, ["XX", "RO (random) or TO"]),
        ({"eval_args": {"group_by": "item"}}, ["item", "group_by user or none"]),
        ({"eval_args": {"mode": "uni99999999999"}}, ["uni99999999999", "9999999"]),
        ({"metrics": ["Recall", "RMSE"], "valid_metric": "Recall@20"}, ["`metrics`", "RMSE"]),
        ({"metrics": ["AUC"], "valid_metric": "AUC"}, ["`metrics`", "AUC", "recall"]),
        ({"load_col": {"inter": "**"}}, ["`load_col`", "'**'"]),
        ({"load_col": {"inter": "user_id"}}, ["`load_col`", "user_id", "a list of columns"]),
        ({"load_col": {"inter": ["user_id", "item_id", "*"]}}, ["`load_col`", "'*'"]),
        ({"tail_ratio": 0}, ["`tail_ratio`", "from 1e-06"]),
        ({"clip_grad_norm": {"max_norm": 0}}, ["`clip_grad_norm`", "max_norm"]),
        ({"clip_grad_norm": {"max_norm": 1, "norm_type": 0.5}}, ["norm_type a number from 1"]),
        ({"eval_memory_mb": 1e29}, ["`eval_memory_mb`"]),
        ({"worker": 1024}, ["`worker`", "from 0 to 64"]),
        ({"weight_decay": 1e29}, ["`weight_decay`"]),
        ({"pretrained_item_embedding": "nowhere.npz"}, ["`pretrained_item_embedding`", "nowhere"]),
    ],
    ids=str,
)  # fmt: skip
def test_keys_of_any_model(planted: dict[str, Any], keys: dict[str, Any], words: list[str]) -> None:
    text = refusal(planted, **keys)
    assert [word for word in words if word not in text] == [], text


@pytest.mark.parametrize(
    ("model", "keys", "words"),
    [
        ("ItemKNN", {"shrink": -100.0}, ["`shrink`", "-100"]),
        ("MultiVAE", {"anneal_cap": -1.0}, ["`anneal_cap`", "-1"]),
        ("NeuMF", {"mf_train": False, "mlp_train": False}, ["`mf_train`", "mlp_train: true"]),
        ("NeuMF", {"use_pretrain": True}, ["`mf_pretrain_path`", "a checkpoint"]),
        ("NeuMF", {"mlp_hidden_size": []}, ["`mlp_hidden_size`", "one width or more"]),
        ("DiffRec", {"first_beta": 1e-30}, ["`first_beta`"]),
        ("LD4MRec", {"embedding_std": 1e29}, ["`embedding_std`"]),
    ],
    ids=str,
)
def test_keys_of_one_model(
    planted: dict[str, Any], model: str, keys: dict[str, Any], words: list[str]
) -> None:
    text = refusal(planted, model, **keys)
    assert [word for word in words if word not in text] == [], text


def test_a_matrix_without_inverse_names_the_penalty(planted: dict[str, Any]) -> None:
    with pytest.raises(
        UserError, match="not positive definite with this penalty .* raise key `reg_weight`"
    ):
        run_recbole_diffusion("EASE", "planted", config_dict={**planted, "reg_weight": 0.0})


def test_prefix_that_makes_a_column_of_the_data_is_refused(
    write_dataset: Callable[..., Path],
) -> None:
    rows = [[f"u{u}", f"i{(u + i) % 30}", "i0"] for u in range(9) for i in range(12)]
    head = ["user_id:token", "item_id:token", "first_item_id:token"]
    path = write_dataset("mine", inter=[head, *rows])
    keys = {"data_path": str(path), "load_col": None, "NEG_PREFIX": "first_"}
    with pytest.raises(
        UserError, match="`NEG_PREFIX`: found 'first_', which makes 'first_item_id'"
    ):
        run_recbole_diffusion("BPR", "mine", config_dict=keys)


def test_tokens_of_a_filter_that_no_row_has_are_told(
    write_dataset: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [[f"u{u}", f"i{(u + i) % 30}", "ab"[u % 2]] for u in range(12) for i in range(25)]
    head = ["user_id:token", "item_id:token", "kind:token"]
    keys = {
        "data_path": str(write_dataset("mine", inter=[head, *rows])), "show_progress": False,
        "val_interval": {"kind": ["a", "nosuch"]}, "output_dir": str(tmp_path), "epochs": 1,
        "topk": [20],
    }  # fmt: skip
    run_recbole_diffusion("Pop", "mine", config_dict=keys)
    assert "`val_interval`: found 1 id ('nosuch') for kind" in capsys.readouterr().out


@pytest.mark.parametrize("alpha", [400.0, -1000.0, 1e29, 0.0, 1.0, -0.5])
def test_popularity_of_any_alpha_has_weights(alpha: float) -> None:
    """Against the definition in whole numbers' logarithms, up to a common factor."""

    class Sampler(AbstractSampler):
        def __init__(self) -> None:
            self.alpha = alpha

        def _get_candidates_list(self) -> list[int]:
            return [1] * 3 + [3] * 900 + [4] * 900

    sampler = Sampler()
    NegativeSampler._build_alias_table(sampler)
    found = np.diff(sampler.cumulative, prepend=0)
    assert found[[0, 2]].tolist() == [0, 0]
    logs = alpha * np.log([3.0, 900.0, 900.0])
    expected = np.exp(logs - logs.max())
    np.testing.assert_allclose(found[[1, 3, 4]] / found.max(), expected)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("010", "010"), ("1:30", "1:30"), ("1:30.5", "1:30.5"), ("-.5", -0.5), ("1e-3", 1e-3),
        ("0x10", 16), ("1_000", 1000), ("-.inf", float("-inf")), ("0", 0), ("1.", 1.0),
    ],
)  # fmt: skip
def test_numbers_are_read_as_people_write_them(text: str, value: Any) -> None:
    found = parse_value(text, "here")
    assert (found, type(found)) == (value, type(value))
    assert parse_value(as_yaml(found), "here") == value
    assert parse_value(as_yaml(text), "here") == text


@pytest.mark.parametrize("content", ["0\n", "false\n", "[]\n"])
def test_a_property_file_of_one_value_is_no_set_of_keys(tmp_path: Path, content: str) -> None:
    file = tmp_path / "one.yaml"
    file.write_text(content)
    with pytest.raises(UserError, match=r"one\.yaml: found (int|bool|list), expected keys"):
        Config("BPR", "ml-100k", (str(file),))


def test_an_empty_search_space_is_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], planted: dict[str, Any]
) -> None:
    space = tmp_path / "space.yaml"
    space.write_text("# nothing yet\n")
    words = ["tune", "--model=BPR", "--dataset=planted", f"--data_path={planted['data_path']}"]
    assert main([*words, f"--space={space}", f"--folder={tmp_path / 'study'}"]) == 2
    assert f"search space {space}: found no key" in capsys.readouterr().err
    assert not (tmp_path / "study").exists()


def test_folders_that_cannot_be(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], planted: dict[str, Any]
) -> None:
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    data = ["--dataset=planted", f"--data_path={planted['data_path']}"]
    for words in (
        ["compare", "--models=Pop", *data, f"--output_dir={loop}"],
        ["tune", "--model=BPR", *data, f"--folder={loop}"],
        ["tune", "--model=BPR", *data, "--folder=/proc/nothing"],
    ):
        assert main(words) == 2
        told = capsys.readouterr().err
        assert "expected" in told.splitlines()[-1]
        assert str(loop) in told or "/proc/nothing" in told


def test_a_storage_in_memory_is_refused() -> None:
    for url in ("sqlite://", "sqlite:///:memory:"):
        with pytest.raises(UserError, match="key `storage`: found sqlite://.* in memory"):
            check_url("storage", url)
    check_url("storage", "sqlite:///studies.db")
    check_url("storage", None)


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        ({"tune": 2, "tune_storage": "nosuch"}, "key `tune_storage`: found 'nosuch'"),
        ({"EASE.output_dir": "x"}, "key `EASE.output_dir`"),
    ],
)
def test_keys_of_a_comparison(planted: dict[str, Any], keys: dict[str, Any], told: str) -> None:
    with pytest.raises(UserError, match=told):
        compare("EASE,Pop", "planted", config_dict={**planted, **keys})
