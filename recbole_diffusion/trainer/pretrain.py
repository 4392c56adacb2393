"""LightGCN as a stage before the model proper: embeddings, cached by data and settings."""

import hashlib
import json
from collections.abc import Collection
from logging import getLogger
from pathlib import Path
from typing import Any

import numpy as np
from recbole.model.general_recommender import LightGCN
from recbole.trainer import Trainer
from recbole.utils import InputType

from recbole_diffusion.checkpoint import read_checkpoint, save_checkpoint
from recbole_diffusion.curves import Curves
from recbole_diffusion.data.features import load_matrix
from recbole_diffusion.data.negatives import PairLoader
from recbole_diffusion.errors import UserError
from recbole_diffusion.randomness import own_randomness
from recbole_diffusion.report import environment
from recbole_diffusion.trainer.base import trainer_on

# Keys of files in place of this stage's embeddings, and the id field that each is joined by.
FILE_KEYS = {
    "pretrained_user_embedding": "USER_ID_FIELD",
    "pretrained_item_embedding": "ITEM_ID_FIELD",
}
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
    "clip_grad_norm",
    "eval_args",
    "require_pow",
    "shuffle",
    "eval_step",
    "valid_metric",
    "seed",
    "split_hash",
    "data_hash",
)


def base_embeddings(
    config: Any, train_data: Any, valid_data: Any, needed: Collection[str]
) -> dict[str, np.ndarray]:
    """Embeddings from the user's files, or from LightGCN unless all that are needed are given.

    Args:
        config: Settings.
        train_data: RecBole's loader of the train split.
        valid_data: RecBole's loader of the validation split.
        needed: Of ``FILE_KEYS``.

    Returns:
        float32 [n_ids, d] by key, at least for those needed; rows in the order of internal ids.

    Raises:
        UserError: A file that ``data.features.load_matrix`` refuses, or no negatives to learn from.
    """
    if any(config[key] is None for key in needed):
        found = lightgcn_embeddings(config, train_data, valid_data)
        return dict(zip(FILE_KEYS, found, strict=True))
    dataset = train_data._dataset
    return {key: load_matrix(config[key], dataset, config[FILE_KEYS[key]]) for key in needed}


def lightgcn_embeddings(
    config: Any, train_data: Any, valid_data: Any
) -> tuple[np.ndarray, np.ndarray]:
    """RecBole's LightGCN, trained until validation stops improving.

    The stage draws from its own seed, so that a cached result and a new one leave the run that
    follows in the same state. A resumed run goes on with the stage where it stopped.

    Args:
        config: Settings; see ``STAGE_KEYS`` and ``SHARED_KEYS`` for those that count.
        train_data: RecBole's loader of the train split.
        valid_data: RecBole's loader of the validation split.

    Returns:
        User [n_users, d] and item [n_items, d] embeddings after propagation, float32.

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
    if cached.is_file():
        getLogger().info(f"LightGCN embeddings: read from {cached}")
        content = read_checkpoint(cached)
        return content["user_embedding"], content["item_embedding"]

    getLogger().info("LightGCN embeddings: training")
    with own_randomness(config["seed"], config["device"]):
        users, items = _train(config, train_data, valid_data)
    cached.parent.mkdir(parents=True, exist_ok=True)
    save_checkpoint(
        cached, {"settings": settings, "user_embedding": users, "item_embedding": items}
    )
    return users, items


def _train(config: Any, train_data: Any, valid_data: Any) -> tuple[np.ndarray, np.ndarray]:
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
        **{name: config[key] for name, key in STAGE_KEYS.items()},
    )
    model = LightGCN(stage, train_data._dataset).to(config["device"])
    trainer = trainer_on(Trainer)(stage, model)
    trainer.epoch_label = "pre-training epoch"
    trainer.tensorboard.close()  # it would write between the run's own curves
    trainer.tensorboard = Curves(folder / "tensorboard")
    # A loader of its own: the run's loader keeps its order of batches.
    loader = PairLoader(stage, train_data._dataset, train_data._sampler, shuffle=True)
    if Path(trainer.last_model_file).is_file():
        trainer.resume(loader)
    trainer.fit(loader, valid_data, show_progress=config["show_progress"])
    trainer.load_checkpoint(trainer.saved_model_file)
    model.eval()
    users, items = (e.detach().cpu().numpy() for e in model.forward())
    return users, items
