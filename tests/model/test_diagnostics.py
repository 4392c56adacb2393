"""What the diagnostic figures of InfoDCL and SimDiff are drawn from."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from channel_tools import TinyDataset, base_embeddings, randomize, settings

from recbole_diffusion.models.infodcl import figures as infodcl
from recbole_diffusion.models.infodcl.model import InfoDCL
from recbole_diffusion.models.simdiff import figures as simdiff
from recbole_diffusion.models.simdiff.model import SimDiff

CHANNELS = ["social", "knowledge"]


def make(model_class, **changes):
    keys = {"channels": CHANNELS, **changes}
    model = model_class(settings(model_class.__name__, **keys), TinyDataset())
    if model.needs_base_embeddings:
        model.set_base_embeddings(*base_embeddings())
    return randomize(model).eval()


def array(tensor):
    return tensor.detach().double().numpy()


def test_infodcl_takes_each_item_through_equation_9_and_the_denoiser():
    model = make(InfoDCL)
    process = infodcl.run_process(model, seed=4)
    items, alphas = array(model.item_embedding.weight)[1:], process.alphas_cumprod
    np.testing.assert_allclose(process.items, items)
    np.testing.assert_allclose(alphas, np.cumprod(1 - array(model.diffusion.betas)), rtol=1e-5)
    for channel in CHANNELS:
        noise = process.noises[f"informative noise, {channel}"]
        of_start, of_noise = np.sqrt(alphas)[:, None, None], np.sqrt(1 - alphas)[:, None, None]
        noised = of_start * items + of_noise * noise  # [T, n, d]
        distance = np.abs(noised - process.inputs[channel]).max(axis=2)
        steps = distance.argmin(axis=0)
        assert distance.min(axis=0).max() < 1e-4
        assert len(set(steps)) > 2
        denoiser = model.denoiser[channel]
        weights = {name: array(value) for name, value in denoiser.state_dict().items()}
        of_step = array(denoiser.embed_step()) @ weights["from_step.weight"].T
        expected = process.inputs[channel] @ weights["from_noised.weight"].T
        expected = expected + weights["from_noised.bias"] + of_step[steps]
        np.testing.assert_allclose(process.outputs[channel], expected, atol=1e-4)


def test_infodcl_noise_is_drawn_from_the_seed_alone():
    model = make(InfoDCL)
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    one, other, third = (infodcl.run_process(model, seed) for seed in (4, 4, 5))
    assert torch.equal(torch.rand(3), expected)  # draws of others go on as if nothing had been
    for name, noise in one.noises.items():
        np.testing.assert_array_equal(noise, other.noises[name])
        assert not np.allclose(noise, third.noises[name])


def test_infodcl_snr_at_each_step_is_equation_17():
    process = infodcl.run_process(make(InfoDCL), seed=4)
    table = infodcl.snr_table(process)
    assert list(table["noise"].unique()) == list(process.noises)
    for (name, step), row in table.set_index(["noise", "step"]).iterrows():
        a = process.alphas_cumprod[step - 1]
        x_t = np.sqrt(a) * process.items.astype(float) + np.sqrt(1 - a) * process.noises[name]
        assert row["SNR"] == pytest.approx(np.mean(x_t) ** 2 / np.var(x_t), rel=1e-6)


def test_infodcl_without_psnet_has_gaussian_noise_only():
    process = infodcl.run_process(make(InfoDCL, use_psnet=False), seed=4)
    assert list(process.noises) == ["Gaussian noise"]
    run = SimpleNamespace(network=make(InfoDCL, use_psnet=False))
    gallery = infodcl.draw(run, 4, "pca", "", "")
    assert [figure.key for figure in gallery.figures] == [
        "snr-steps",
        "item-map",
        "singular-vectors",
    ]


@pytest.mark.parametrize("model_class", [InfoDCL, SimDiff])
def test_control_without_diffusion_has_no_such_figures(model_class):
    draw = {InfoDCL: infodcl.draw, SimDiff: simdiff.draw}[model_class]
    run = SimpleNamespace(network=make(model_class, use_diffusion=False))
    gallery = draw(run, 4, "pca", "", "")
    assert (gallery.figures, gallery.missing) == ([], [])


def test_simdiff_sets_are_item_noised_injected_and_generated():
    model = make(SimDiff, injection_ratio=0.3)
    sets = simdiff.embedding_sets(model, seed=4)
    items, guide = (array(x)[1:] for x in (model.item_embedding.weight, model.guide()))
    np.testing.assert_allclose(sets["Learned"], items)
    np.testing.assert_allclose(
        sets["With the guide injected"], 0.3 * items + 0.7 * guide, atol=1e-5
    )
    np.testing.assert_allclose(sets["Generated"], array(model.generate())[1:])
    left = np.prod(1 - array(model.diffusion.betas))
    noise = (sets["With Gaussian noise"] - np.sqrt(left) * items) / np.sqrt(1 - left)
    assert abs(noise.mean()) < 0.4  # of 60 draws: three deviations
    assert noise.std() == pytest.approx(1, abs=0.3)
    again = simdiff.embedding_sets(model, seed=4)["With Gaussian noise"]
    np.testing.assert_array_equal(sets["With Gaussian noise"], again)


def test_simdiff_without_features_has_nothing_injected():
    model = make(SimDiff, latent="noise", channels=None)
    assert list(simdiff.embedding_sets(model, 4)) == ["Learned", "With Gaussian noise", "Generated"]
