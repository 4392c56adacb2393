"""The absorbing process against enumeration of its small cases."""

import itertools
from fractions import Fraction

import numpy as np
import pytest
import torch

from recbole_diffusion.diffusion.absorbing import AbsorbingDiffusion

GRID = 8  # of the noise, which is then 0, 1/8, .. 7/8: each as likely, so that outcomes are counted


def outcomes(process: AbsorbingDiffusion, level: float, n: int) -> dict[tuple[bool, ...], Fraction]:
    """Probability of each set of present items of a sequence of n, by counting all noise."""
    noise = torch.tensor(list(itertools.product(range(GRID), repeat=n))) / GRID
    age = torch.arange(n).flip(0).expand(len(noise), n).reshape(-1)
    drawn = process.q_sample(
        torch.full((noise.numel(),), level), age, torch.full_like(age, n), noise.reshape(-1)
    )
    found, counts = np.unique(drawn.is_present.view(-1, n).numpy(), axis=0, return_counts=True)
    return {
        tuple(map(bool, present)): Fraction(int(count), len(noise))
        for present, count in zip(found, counts, strict=True)
    }


@pytest.mark.parametrize(
    ("level", "n_left"), [(0.0, 4), (0.1, 3), (0.25, 3), (0.3, 2), (0.75, 1), (0.8, 0), (1.0, 0)]
)
def test_by_age_the_latest_vanish_first(level: float, n_left: int) -> None:
    present = tuple(place < n_left for place in range(4))
    assert outcomes(AbsorbingDiffusion("age"), level, 4) == {present: 1}


def test_at_random_each_item_vanishes_alone() -> None:
    found = outcomes(AbsorbingDiffusion("random"), 0.25, 3)
    for present in itertools.product([False, True], repeat=3):
        share = Fraction(3, 4) ** sum(present) * Fraction(1, 4) ** (3 - sum(present))
        assert found[present] == share


def test_both_hides_some_of_what_age_leaves() -> None:
    found = outcomes(AbsorbingDiffusion("both", 0.25), 0.5, 4)
    assert sum(found.values()) == 1
    for first, second in itertools.product([False, True], repeat=2):
        share = Fraction(3, 4) ** (first + second) * Fraction(1, 4) ** (2 - first - second)
        assert found[first, second, False, False] == share


def test_nothing_is_absorbed_at_level_0() -> None:
    for rule in ("age", "random", "both"):
        assert outcomes(AbsorbingDiffusion(rule, 0.5), 0.0, 3) == {(True,) * 3: 1}


@pytest.mark.parametrize("rule", ["age", "random", "both"])
@pytest.mark.parametrize("level", [0.0, 0.25, 0.5, 1.0])
def test_survival_is_the_share_of_outcomes_with_the_item(rule: str, level: float) -> None:
    process = AbsorbingDiffusion(rule, 0.25)
    found = outcomes(process, level, 4)
    age, length = torch.arange(4).flip(0), torch.full((4,), 4)
    survival = process.survival(torch.full((4,), level), age, length)
    for place in range(4):
        share = sum(p for present, p in found.items() if present[place])
        assert survival[place].item() == pytest.approx(float(share), abs=1e-7)


@pytest.mark.parametrize("rule", ["age", "random", "both"])
@pytest.mark.parametrize(("earlier", "level"), [(0.0, 0.5), (0.25, 0.75), (0.5, 0.5), (0.25, 1.0)])
def test_posterior_is_that_of_paths(rule: str, earlier: float, level: float) -> None:
    """A path is one draw of noise that both levels see: what has vanished stays away."""
    process, n = AbsorbingDiffusion(rule, 0.25), 4
    noise = (torch.arange(GRID) / GRID).repeat_interleave(n)
    age = torch.arange(n).flip(0).repeat(GRID)
    length = torch.full_like(age, n)
    at = {
        s: process.q_sample(torch.full_like(noise, s), age, length, noise).is_present.view(GRID, n)
        for s in (earlier, level)
    }
    assert not (at[level] & ~at[earlier]).any()
    gone = (~at[level]).sum(dim=0)
    back = (~at[level] & at[earlier]).sum(dim=0)
    expected = torch.where(gone > 0, back / gone.clamp_min(1), 0.0)
    place = slice(0, n)
    found = process.q_posterior(
        torch.full((n,), earlier), torch.full((n,), level), age[place], length[place]
    )
    torch.testing.assert_close(found, expected)


def test_what_comes_back_first_vanished_last() -> None:
    age = torch.arange(5).flip(0)
    drawn = AbsorbingDiffusion("age").q_sample(
        torch.full((5,), 0.6), age, torch.full((5,), 5), torch.zeros(5)
    )
    assert drawn.is_target.tolist() == [False, False, True, True, True]
    assert drawn.time[drawn.is_target].argsort(descending=True).tolist() == [0, 1, 2]


def test_hidden_items_are_no_targets() -> None:
    drawn = AbsorbingDiffusion("both", 0.5).q_sample(
        torch.full((4,), 0.5), torch.arange(4).flip(0), torch.full((4,), 4), torch.zeros(4)
    )
    assert not drawn.is_present.any()
    assert drawn.is_target.tolist() == [False, False, True, True]


@pytest.mark.parametrize(
    ("rule", "share", "message"),
    [("oldest", 0.0, "`rule`: found 'oldest'"), ("both", 1.0, "`share`: found 1.0")],
)
def test_other_processes_are_refused(rule: str, share: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        AbsorbingDiffusion(rule, share)
