"""What the losses of models are to a batch: means over rows, sums, or neither."""

from collections.abc import Callable
from typing import Any, NamedTuple

from torch import Tensor, nn

from recbole_diffusion.base.errors import UserError

# RecBole's models whose loss is not that of shares of a batch together, and why.
UNSHARED = {
    "LINE": "it draws users from a list that each rank would go through on its own",
    "RaCT": "its critic normalises a batch by its mean and variance",
}
# Of RecBole's, those whose optimisers take turns.
WITH_TURNS = ("RecVAE",)


class LossForm(NamedTuple):
    """What a loss is to the rows of a batch.

    Attributes:
        summed: Places of its terms that are sums over rows; the others are means.
        penalty: Gives of a sum what is not of rows, but of all weights; None: nothing.
    """

    summed: tuple[int, ...] = ()
    penalty: Callable[[Any], Tensor] | None = None


def _of_hidden_layers(model: Any) -> Tensor:
    weights = model.h_user.weight, model.h_item.weight
    first: Tensor = sum(weight.norm(p=1) for weight in weights)
    second: Tensor = sum(weight.norm() for weight in weights)
    return model.reg_weight_1 * first + model.reg_weight_2 * second


def _of_weights(model: Any) -> Tensor:
    penalty: Tensor = model.reg_loss()
    return penalty


# Of RecBole's models, those that are no means over rows.
HOST_FORMS = {
    "CDAE": LossForm((0,), _of_hidden_layers),
    "ConvNCF": LossForm((0,), _of_weights),
    "ENMF": LossForm((0,), _of_weights),
    "NCL": LossForm((1, 2)),
    "SGL": LossForm((0,)),
}


def loss_form(model: Any, config: Any) -> LossForm:
    """Of a model's loss; ours and registered ones name their sums in ``summed_terms``."""
    if config.registration.is_host:
        return HOST_FORMS.get(config["model"], LossForm())
    names, summed = getattr(model, "loss_names", ()), getattr(model, "summed_terms", ())
    return LossForm(tuple(place for place, name in enumerate(names) if name in summed))


def refuse_unshared(model: Any, config: Any) -> None:
    """Refuse what several ranks would train to something else than one.

    Args:
        model: Of the run.
        config: Its settings.

    Raises:
        UserError: Such a model, or such settings.
    """
    name, is_host = config["model"], config.registration.is_host
    found = f"model {name} on several processes"
    advice = "expected one process (without torchrun), or another model"
    if is_host and name in UNSHARED:
        raise UserError(f"{found}: {UNSHARED[name]}; {advice}")
    if is_host and name in WITH_TURNS and config["clip_grad_norm"]:
        raise UserError(
            f"{found}: key `clip_grad_norm`: found {config['clip_grad_norm']}, expected none: its "
            "optimisers take turns, and the norm would count gradients that are not summed"
        )
    for part, module in model.named_modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            raise UserError(
                f"{found}: its `{part}` normalises a batch by its mean and variance; {advice}"
            )
