"""What an iteration's sums and an evaluation's episodes become in the curves, by hand."""

import numpy as np
import pytest

from jaxteach.evaluate import Episodes
from jaxteach.records import _averages, _train_values, summary


def sums(*returns, length=0, success=0, loss=0.0):
    """An iteration's row, of episodes with these returns."""
    values = np.array(returns, np.float32)
    return {
        "loss": np.float32(loss),
        "episodes": np.int32(len(values)),
        "return_sum": values.sum(),
        "return_square_sum": (values**2).sum(),
        "length_sum": np.int32(length),
        "success_sum": np.int32(success),
    }


def test_an_iteration_by_hand():
    """Returns 1, 2, 6: mean 3, variance (4 + 1 + 9) / 3."""
    values = _train_values(sums(1, 2, 6, length=30, success=2, loss=0.5))
    assert values == {
        "loss": 0.5,
        "return_mean": pytest.approx(3),
        "return_std": pytest.approx((14 / 3) ** 0.5, rel=1e-5),
        "episode_length": pytest.approx(10),
        "success_rate": pytest.approx(2 / 3),
    }


def test_iterations_without_an_episode_tell_nothing_of_episodes():
    rows = [_train_values(row) for row in (sums(loss=1), sums(2, 4, length=10, success=1, loss=3), sums(loss=5))]
    assert rows[0]["return_mean"] is None
    told = dict(_averages(rows))
    assert told["loss"] == 3
    assert (told["train_return_mean"], told["train_return_std"], told["train_success_rate"]) == (3, 1, 0.5)
    assert dict(_averages(rows[:1]))["train_episode_length"] is None


def test_an_evaluation_by_hand():
    outcome = Episodes(np.array([0.0, 1.0, 5.0]), np.array([10, 20, 60]), np.array([False, True, True]))
    assert summary(outcome) == {
        "success_rate": pytest.approx(2 / 3),
        "return_mean": 2,
        "return_std": pytest.approx((14 / 3) ** 0.5),
        "episode_length": 30,
        "episodes": 3,
    }
