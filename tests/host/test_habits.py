"""What scripts for RecBole call works after our import, or says in a line what to call."""

from pathlib import Path

import pytest
from forked import Served

from recbole_diffusion import run_recbole_diffusion
from recbole_diffusion.base.errors import UserError

BEFORE = """
import os, sys
sys.path.insert(0, {tests!r})
os.chdir({folder!r})
from pathlib import Path
from run_models import DATASET, SETTINGS, write_data
import recbole_diffusion
from recbole.config import Config
from recbole.data import create_dataset, data_preparation
from recbole.quick_start import load_data_and_model, run_recbole
write_data(Path("data", DATASET))
files = {{"load_col": {{"inter": ["user_id", "item_id"]}}}}
settings = {{**SETTINGS, **files, "data_path": "data", "epochs": 2}}
"""


def run_script(folder: Path, text: str) -> None:
    script = folder / "script.py"
    script.write_text(BEFORE.format(tests=str(Path(__file__).parent), folder=str(folder)) + text)
    process = Served(script, ())
    assert process.wait() == 0, process.said()


def test_recboles_quick_start_runs_and_reads_its_checkpoint(tmp_path: Path) -> None:
    run_script(
        tmp_path,
        """
Path("more.yaml").write_text("embedding_size: 8")
settings.pop("embedding_size")
result = run_recbole("BPR", DATASET, config_file_list=["more.yaml"], config_dict=settings)
assert 0 < result["test_result"]["recall@10"] <= 1
[saved] = Path("saved").glob("*.pth")
config, model, dataset, train_data, valid_data, test_data = load_data_and_model(str(saved))
assert config["embedding_size"] == 8 and model.user_embedding.weight.shape[1] == 8
from recbole.utils import get_trainer
trainer = get_trainer(config["MODEL_TYPE"], config["model"])(config, model)
again = trainer.evaluate(test_data, load_best_model=False)
assert again == result["test_result"], (again, result["test_result"])
""",
    )


def test_recboles_parts_run_by_hand(tmp_path: Path) -> None:
    run_script(
        tmp_path,
        """
config = Config(model="ItemKNN", dataset=DATASET, config_dict=settings)
loaders = data_preparation(config, create_dataset(config))
assert [len(loader.dataset) > 0 for loader in loaders] == [True, True, True]
result = run_recbole("ItemKNN", DATASET, config_dict=settings)  # its checkpoint holds matrices
assert 0 < result["test_result"]["recall@10"] <= 1
""",
    )


def test_a_checkpoint_of_another_process_stays_closed(tmp_path: Path) -> None:
    run_script(tmp_path, "run_recbole('BPR', DATASET, config_dict=settings)")
    run_script(
        tmp_path.joinpath("saved"),
        """
[saved] = Path(".").glob("*.pth")
try:
    load_data_and_model(saved)
except ValueError as error:
    assert "recbole_diffusion.load_run(" in str(error)
else:
    raise AssertionError("it was unpickled")
""",
    )


def test_our_models_in_recboles_quick_start_say_what_to_call(tmp_path: Path) -> None:
    run_script(
        tmp_path,
        """
from recbole_diffusion.models.infodcl.model import InfoDCL
for model in ("InfoDCL", InfoDCL):
    try:
        run_recbole(model, DATASET, config_dict=settings)
    except ValueError as error:
        assert "by recbole_diffusion.run_recbole_diffusion(model='InfoDCL')" in str(error), error
    else:
        raise AssertionError("it was taken")
""",
    )


@pytest.mark.parametrize(
    ("argument", "serves"),
    [
        ("config_file_list", "name the files by `config_files`"),
        ("saved", "keeps its checkpoints"),
        ("queue", "what the function returns"),
        ("epochs", "settings are given by `config_dict`"),
    ],
)
def test_arguments_of_recboles_quick_start_name_ours(argument: str, serves: str) -> None:
    with pytest.raises(TypeError, match=f"no argument `{argument}`: .*{serves}"):
        run_recbole_diffusion("BPR", "ml-100k", **{argument: ["a.yaml"]})


def test_a_sequential_model_says_its_kind() -> None:
    with pytest.raises(UserError, match="RecBole's sequential model"):
        run_recbole_diffusion("Caser", "ml-100k")
