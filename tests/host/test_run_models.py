"""A few of RecBole's models on RecBole's own path; ``run_models.py`` runs all of them."""

import pytest
from run_models import broken, compare, models_of

pytestmark = pytest.mark.compat
# One of each kind, and those that reach what numpy, scipy and pandas have removed.
SAMPLE = ("BPR", "FFM", "SASRec", "KGIN", "MCCLK")


def test_what_runs_on_plain_recbole_runs_after_our_import() -> None:
    rows = compare(SAMPLE, limit=60)
    assert [row[0] for row in rows] == list(SAMPLE)
    assert {row[0]: row[3] for row in rows} == dict.fromkeys(SAMPLE, "ok")
    assert broken(rows) == []


def test_a_broken_model_is_found() -> None:
    rows = [("A", "general", "ok", "ok"), ("B", "context", "ok", "E"), ("C", "context", "E", "E")]
    assert broken(rows) == ["B"]


def test_every_kind_has_models() -> None:
    assert "FFM" in models_of("context")
    assert "KGIN" in models_of("knowledge")
    assert len(models_of("sequential")) > 20
