"""LightGCN as a stage before the model proper: embeddings, cached by data and settings."""

import hashlib
import json
from collections.abc import Collection
from contextlib import nullcontext
from logging import getLogger
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from recbole.utils import InputType

from recbole_diffusion.base.environment import environment
from recbole_diffusion.base.errors import DamagedFile, UserError
from recbole_diffusion.base.files import one_at_a_time
from recbole_diffusion.base.randomness import own_randomness
from recbole_diffusion.base.ranks import current_ranks
from recbole_diffusion.data.features import load_named_matrix
from recbole_diffusion.data.negatives import PairLoader
from recbole_diffusion.nn.lightgcn import LightGCN
from recbole_diffusion.settings.evaluation_keys import without_group
from recbole_diffusion.settings.item_features import EMBEDDING_FILES
from recbole_diffusion.training.checkpoint import read_checkpoint, save_checkpoint
from recbole_diffusion.training.curves import Curves
from recbole_diffusion.training.rows import RowTrainer

# Keys of this stage, by the name that LightGCN and its trainer read.
STAGE_KEYS = {
    "epochs": "pretrain_epochs",
    "learning_rate": "pretrain_learning_rate",
    "n_layers": "pretrain_n_layers",
    "reg_weight": "pretrain_reg_weight",
    "stopping_step": "pretrain_stopping_step",
    "train_batch_size": "pretrain_batch_size",
}
SHARED_KEYS = (
    "embedding_size",
    "train_neg_sample_args",
    "negative_sampler",
    "clip_grad_norm",
    "eval_args",
    "require_pow",
    "shuffle",
    "eval_step",
    "valid_metric",
    "keep_cold_items",
    "seed",
    "split_hash",
    "data_hash",
)


class Stage(NamedTuple):
    """What the stage gives.

    Attributes:
        users: Embeddings [n_users, d] after propagation, float32.
        items: Embeddings [n_items, d] after propagation, float32.
        earlier_seconds: That parts of it before an interruption took.
    """

    users: np.ndarray
    items: np.ndarray
    earlier_seconds: float = 0.0


def base_embeddings(
    config: Any, train_data: Any, valid_data: Any, needed: Collection[str]
) -> tuple[dict[str, np.ndarray], float]:
    """Embeddings from the user's files, or from LightGCN unless all that are needed are given.

    Args:
        config: Settings.
        train_data: RecBole's loader of the train split.
        valid_data: RecBole's loader of the validation split.
        needed: Of ``EMBEDDING_FILES``.

    Returns:
        float32 [n_ids, d] by key, at least for those needed, rows in the order of internal ids; and
        the seconds that parts of the stage before an interruption took.

    Raises:
        UserError: A file that ``data.features.load_named_matrix`` refuses, or no negatives to
            learn from.
    """
    if any(config[key] is None for key in needed):
        found = lightgcn_embeddings(config, train_data, valid_data)
        return dict(zip(EMBEDDING_FILES, found[:2], strict=True)), found.earlier_seconds
    dataset = train_data._dataset
    return {key: load_named_matrix(config, key, dataset) for key in needed}, 0.0


def lightgcn_embeddings(config: Any, train_data: Any, valid_data: Any) -> Stage:
    """RecBole's LightGCN, trained until validation stops improving.

    The stage draws from its own seed, so that a cached result and a new one leave the run that
    follows in the same state. A resumed run goes on with the stage where it stopped. Of runs that
    need the same at once, one trains and the others wait. Ranks of a run share the training.

    Args:
        config: Settings; see ``STAGE_KEYS`` and ``SHARED_KEYS`` for those that count.
        train_data: RecBole's loader of the train split.
        valid_data: RecBole's loader of the validation split.

    Raises:
        UserError: No negatives to learn from.
    """
    negatives = config["train_neg_sample_args"]
    if negatives["distribution"] == "none":
        raise UserError(
            f"key `train_neg_sample_args`: found {negatives}, but LightGCN learns from pairs; "
            "expected {distribution: uniform, sample_num: 1}"
        )
    settings = {key: config[key] for key in (*SHARED_KEYS, *STAGE_KEYS.values())}
    settings["computed_on"] = environment(config["device"])  # results differ in the last bits
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:16]
    cached = Path(config["output_dir"]) / "cache" / f"lightgcn-{digest}.pth"
    cached.parent.mkdir(parents=True, exist_ok=True)
    ranks = current_ranks()
    lock = one_at_a_time(cached.with_suffix(".lock")) if ranks.is_first else nullcontext()
    with lock:
        if ranks.of_first(lambda: str(_is_sound(cached, settings, train_data._dataset))) == "True":
            getLogger().info(f"LightGCN embeddings: read from {cached}")
            return _read(cached, settings, train_data._dataset)
        getLogger().info("LightGCN embeddings: training")
        with own_randomness(config["seed"], config["device"]):
            stage = _train(config, train_data, valid_data)
        if ranks.is_first:
            kept = {"user_embedding": stage.users, "item_embedding": stage.items}
            save_checkpoint(cached, {"settings": settings, **kept})
    return stage


def _is_sound(path: Path, settings: dict[str, Any], dataset: Any) -> bool:
    """Whether an earlier run left its embeddings there; tells of a file that is not sound."""
    if not path.is_file():
        return False
    try:
        _read(path, settings, dataset)
    except UserError as error:
        getLogger().warning(f"LightGCN embeddings: training them anew: {error}")
        return False
    return True


def _read(path: Path, settings: dict[str, Any], dataset: Any) -> Stage:
    """Embeddings that an earlier run trained.

    Raises:
        UserError: No checkpoint, or of other settings or sizes than its name promises.
    """
    content = read_checkpoint(path)
    if json.dumps(content.get("settings"), sort_keys=True) != json.dumps(settings, sort_keys=True):
        raise DamagedFile(f"checkpoint {path}: found other settings than those of its name")
    stage = Stage(content["user_embedding"], content["item_embedding"])
    for matrix, n_rows in ((stage.users, dataset.user_num), (stage.items, dataset.item_num)):
        shape = (n_rows, settings["embedding_size"])
        if matrix.shape != shape or not np.isfinite(matrix).all():
            raise DamagedFile(f"checkpoint {path}: expected finite embeddings of shape {shape}")
    return stage


def _train(config: Any, train_data: Any, valid_data: Any) -> Stage:
    folder = Path(config["checkpoint_dir"]) / "pretrain"
    folder.mkdir(parents=True, exist_ok=True)
    stage = config.derive(
        model="LightGCN",
        checkpoint_dir=str(folder),
        weight_decay=0.0,
        enable_amp=False,
        enable_scaler=False,
        learner="adam",
        MODEL_INPUT_TYPE=InputType.PAIRWISE,
        valid_metric=without_group(config["valid_metric"])[0],  # it scores no cold items
        **{name: config[key] for name, key in STAGE_KEYS.items()},
    )
    model = LightGCN(stage, train_data._dataset).to(config["device"])
    trainer = RowTrainer(stage, model)
    trainer.epoch_label = "pre-training epoch"
    trainer.tensorboard.close()  # it would write between the run's own curves
    if trainer.ranks.is_first:
        trainer.tensorboard = Curves(folder / "tensorboard")
    # A loader of its own: the run's loader keeps its order of batches.
    loader = PairLoader(stage, train_data._dataset, train_data._sampler, shuffle=True)
    has_begun = trainer.ranks.any(Path(trainer.last_model_file).is_file())
    if has_begun:
        trainer.resume(loader)
        trainer.ranks.wait()  # all have read what the first writes next
    earlier_seconds = trainer.fit_seconds
    trainer.fit(loader, valid_data, show_progress=config["show_progress"])
    trainer.load_checkpoint(trainer.saved_model_file)
    model.eval()
    users, items = (e.detach().cpu().numpy() for e in model.forward())
    return Stage(users, items, earlier_seconds)
