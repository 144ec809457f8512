"""What a search tries: as it is configured, and what is wrong with it in one line."""

from __future__ import annotations

import dataclasses

import pytest

from tests.conftest import make_config
from tests.tuning.searches import make_values
from textcls.defaults import CorpusFacts, resolve
from textcls.errors import InputError
from textcls.tuning.optuna_space import fitting
from textcls.tuning.space import Range, parse_tuning


def test_what_is_given_is_not_searched_unless_its_space_is() -> None:
    space = {"model": {"mode": ["sum", "max"], "dropout": {"low": 0, "high": 0.5}},
             "trainer": {"epochs": {"low": 1, "high": 9, "step": 2}}}  # fmt: skip
    values = {"seconds": 1, "trials": None, "space": space}
    found = parse_tuning(values, {"tune", "model.mode", "data"}).space
    assert found.keys() == {"model.dropout", "trainer.epochs"}
    found = parse_tuning(values, {"model.mode", "tune.space.model.mode", "model.dropout"}).space
    assert found.keys() == {"model.mode", "trainer.epochs"}
    found = parse_tuning(values, {"model.dropout", "tune.space.model.dropout.high"}).space
    # Whole numbers where the option takes them, and only there.
    assert repr(found["model.dropout"]) == repr(Range(0.0, 0.5))
    assert repr(found["trainer.epochs"]) == repr(Range(1, 9, step=2.0))
    # Written and read back it is the same.
    assert parse_tuning({"seconds": 1, "trials": None, "space": found}).space == found


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("tune.space.model.mode=[mean,median]", "tune.space.model.mode: median: input should be"),
        ("tune.space.model.dim=[]", "tune.space.model.dim=[]: give a list"),
        ("tune.space.model.dim=[0]", "tune.space.model.dim: 0: input should be greater"),
        ("tune.space.model.dim=16", "tune.space.model.dim=16: give a list"),
        ("+tune.space.model.depth=[1]", "tune.space.model.depth: there is no such option"),
        ("+tune.space.data.text=[a]", "tune.space.data.text: there is no such option"),
        ("+tune.space.trainer.monitor=[loss]", "trainer.monitor is the same for all trials"),
        (
            "+tune.space.optimizer.betas=[[0.9,1]]",
            "betas: [0.9, 1]: input should be less",
        ),
        ("tune.space.model.dim=[[8,16]]", "tune.space.model.dim: [8, 16]: input should be"),
        ("tune.space.model.dim=[{a: 1}]", "a choice is a value or a list of numbers"),
        ("tune.space.optimizer.lr.low=2", "low=2 is not below high=0.6"),
        ("+tune.space.model.dropout={low: 0, high: 1}", "model.dropout: 1: input should be less"),
        ("tune.space.trainer.epochs.low=1.5", "tune.space.trainer.epochs: 1.5: input should be"),
        ("+tune.space.trainer.epochs.step=0.5", "trainer.epochs takes whole numbers"),
        ("+tune.space.trainer.epochs.lag=1", "tune.space.trainer.epochs.lag: there is no such"),
        ("tune.space.optimizer.lr.low=0", "log=true is for low above 0"),
        ("~tune.space", "tune.space is empty"),
        ("tune.seconds=0", "tune.seconds=0: input should be greater than 0"),
        ("tune.trials=0", "tune.trials=0: input should be greater"),
    ],
)
def test_a_bad_space_is_one_line(override: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_tuning(make_values("tune=default", override))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_rates_are_those_of_class_scores_where_these_were_chosen() -> None:
    given = make_config("experiment=null")
    facts = CorpusFacts(documents=500, classes=9, mean_words=8.0, unspaced=0.0, several=True)
    tried = parse_tuning(make_values("tune=default")).space
    resolved, found = fitting(tried, given, facts)
    assert resolved == resolve(given, facts)
    rates = found["optimizer.lr"]
    assert isinstance(rates, Range)
    assert rates.low < resolved.optimizer.lr < rates.high
    assert rates.high / rates.low == pytest.approx(9, rel=0.01)
    assert "model.dim" in tried
    assert "model.dim" not in found  # vectors learn at other rates
    vectors = dataclasses.replace(facts, several=False, classes=50)
    assert fitting(tried, given, vectors) == (resolve(given, vectors), dict(tried))


def test_dimensions_that_are_asked_for_are_tried() -> None:
    """Vectors are asked for: what is given is the first of them, with a rate of vectors."""
    facts = CorpusFacts(documents=500, classes=2, mean_words=8.0, unspaced=0.0)
    tried = parse_tuning(make_values("tune=default", "tune.space.model.dim=[8,64]")).space
    resolved, found = fitting(tried, make_config("experiment=null"), facts)
    assert (resolved.model.dim, resolved.optimizer.lr) == (8, 0.2)
    assert found == dict(tried)
