"""The strategies of the explorable of a search, and the model that one of them learns."""

import math
import random

import numpy as np
import pytest
from sysai.explorables.tile_search import PLACES, RIDGE, STRATEGIES, TRIALS, best_so_far, cost, learn, search


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("batch", [1, 5, 16])
def test_each_measures_distinct_places_and_begins_with_the_same_batch(strategy, batch):
    found = search(strategy, 32, batch, 3)
    assert len(set(found)) == len(found) == TRIALS
    assert set(found) <= set(PLACES)
    assert found[:batch] == search("random", 32, batch, 3)[:batch]
    assert found != search(strategy, 32, batch, 4)


@pytest.mark.parametrize("seed", range(5))
def test_evolution_measures_neighbours_of_what_it_measured_before(seed):
    found = search("evolution", 32, 4, seed)
    for number in range(4, TRIALS):
        before = found[: number // 4 * 4]
        assert min(max(abs(i - a), abs(j - b)) for i, j in [found[number]] for a, b in before) == 1


def test_the_best_so_far_never_gets_worse():
    found = search("random", 64, 4, 0)
    best = best_so_far(found, 64)
    assert best == [min(cost(place, 64) for place in found[:n]) for n in range(1, TRIALS + 1)]


def test_a_model_pays_where_the_bytes_form_a_bowl():
    """With a cache of 32 KiB, after 20 of 81: both ways to learn beat chance, and the model beats plain evolution."""
    least = min(cost(place, 32) for place in PLACES)
    mean = {
        strategy: sum(best_so_far(search(strategy, 32, 4, seed), 32)[19] for seed in range(16)) / 16 / least
        for strategy in STRATEGIES
    }
    assert mean["model"] < 1.1 < mean["evolution"] < mean["random"]


@pytest.mark.parametrize("number", [1, 3, 12, 81])
def test_the_model_is_the_least_squares_of_numpy(number):
    places = random.Random(number).sample(PLACES, number)
    measured = {place: cost(place, 32) for place in places}
    x, y = (np.array(places).T - 4) / 4
    features = np.stack([x, y, x * x, x * y, y * y], 1)
    logs = np.log2([measured[place] for place in places])
    centred = features - features.mean(0)
    stacked = np.concatenate([centred, math.sqrt(RIDGE) * np.eye(5)])
    weights = np.linalg.lstsq(stacked, np.concatenate([logs - logs.mean(), np.zeros(5)]), rcond=None)[0]
    model = learn(measured)
    assert [model.predict(place) for place in places] == pytest.approx(logs.mean() + centred @ weights)
