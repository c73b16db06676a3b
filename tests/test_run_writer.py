"""What iterations' sums and an evaluation's episodes become in the curves, by hand."""

import numpy as np
import pytest

from jaxteach.ppo.episodes import Episodes
from jaxteach.runs.run_writer import _train_values, summary


def sums(*iterations):
    """Metrics [iterations]: for each the returns of its episodes, their steps and successes in all, and its loss."""
    returns = [np.array(iteration[0], np.float32) for iteration in iterations]
    return {
        "episodes": np.array([len(values) for values in returns], np.int32),
        "return_sum": np.array([values.sum() for values in returns], np.float32),
        "return_square_sum": np.array([(values**2).sum() for values in returns], np.float32),
        "length_sum": np.array([iteration[1] for iteration in iterations], np.float32),
        "success_sum": np.array([iteration[2] for iteration in iterations], np.int32),
        "loss": np.array([iteration[3] for iteration in iterations], np.float32),
    }


def test_an_iteration_by_hand():
    """Returns 1, 2, 6: mean 3, variance (4 + 1 + 9) / 3."""
    assert _train_values(sums(([1, 2, 6], 30, 2, 0.5))) == {
        "loss": 0.5,
        "episodes": 3,
        "return_mean": pytest.approx(3),
        "return_std": pytest.approx((14 / 3) ** 0.5, rel=1e-5),
        "episode_length": pytest.approx(10),
        "success_rate": pytest.approx(2 / 3),
    }


def test_every_episode_counts_alike():
    """Catches means over iterations: of one episode with return 8 and three with 0, the mean return is 2."""
    told = _train_values(sums(([8], 4, 1, 1), ([], 0, 0, 3), ([0, 0, 0], 36, 0, 5)))
    assert (told["loss"], told["episodes"]) == (3, 4)
    assert (told["return_mean"], told["episode_length"], told["success_rate"]) == (2, 10, 0.25)


def test_iterations_without_an_episode_tell_nothing_of_episodes():
    told = _train_values(sums(([], 0, 0, 1), ([], 0, 0, 2)))
    assert (told["loss"], told["episodes"]) == (1.5, 0)
    assert [told[name] for name in ("return_mean", "return_std", "episode_length", "success_rate")] == [None] * 4


def test_an_evaluation_by_hand():
    success = np.array([False, True, True])
    outcome = Episodes(np.array([0.0, 1.0, 5.0]), np.array([10, 20, 60]), success, ~success, {})
    assert summary(outcome) == {
        "success_rate": pytest.approx(2 / 3),
        "return_mean": 2,
        "return_std": pytest.approx((14 / 3) ** 0.5),
        "episode_length": 30,
        "episodes": 3,
    }
