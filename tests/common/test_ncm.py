"""The nearest class mean: what it means, and what it refuses."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.distance import cdist
from sklearn.neighbors import NearestCentroid
from sklearn.preprocessing import StandardScaler

from common.errors import ContributionError, SettingsError
from common.learners import NearestMeanHead, make_learner
from common.learners.base import Contribution, Problem, SiteData
from common.learners.federate import fit_sites
from tests.common.learner_cases import PARTITIONS, fit, pooled, run

PAIR = Problem(("a", "b"), 1)
# Mean 0 and standard deviation 1, so that standardising changes nothing.
X = np.array([[-1.0], [1.0], [-1.0], [1.0]])
Y = np.array([0, 1, 0, 1])
SITES = {"here": SiteData(X[:3], Y[:3]), "there": SiteData(X[3:], Y[3:])}


@pytest.mark.parametrize(
    ("priors", "intercept"),
    # Constant within its classes, the feature is not scaled, as in scikit-learn.
    [("uniform", -1.0), ("empirical", -1.0 + 2.0 * np.log(0.5))],
)
def test_scores_are_those_of_a_hand_computation(priors: str, intercept: float) -> None:
    learner = make_learner("ncm", PAIR, f"priors={priors} calibrate=none")
    state, stages = run(learner, SITES)
    assert stages == ["moments", "class_sum"]
    assert state.arrays["coef"].tolist() == [[-2.0], [2.0]]
    np.testing.assert_allclose(state.arrays["intercept"], intercept, rtol=1e-15)


def test_the_nearest_mean_wins() -> None:
    data = pooled(20, n=150, dimension=4, classes=4)
    head = fit(NearestMeanHead(), data, data.sites(PARTITIONS["acquisition"](data)))
    scaler = StandardScaler().fit(data.x.astype(np.float64))
    z = scaler.transform(data.x.astype(np.float64))
    means = [z[data.y == label].mean(axis=0) for label in range(4)]
    distance = cdist(scaler.transform(data.probe.astype(np.float64)), means)
    names = np.array(data.classes)[distance.argmin(axis=1)]
    assert head.predict(data.probe).tolist() == names.tolist()
    # Twice the scores are squared distances, but for what all classes share.
    scores = head.scores(data.probe) + np.square(distance)
    np.testing.assert_allclose(np.ptp(scores, axis=1), 0.0, atol=1e-9)


def test_a_feature_that_is_constant_within_classes_is_not_scaled_as_in_scikit_learn() -> None:
    data = pooled(21, n=100, dimension=3, classes=3)
    x = np.column_stack([data.x, data.y.astype(np.float32)])
    learner = make_learner("ncm", Problem(data.classes, 4), "priors=empirical calibrate=none")
    state = fit_sites(learner, {"a": SiteData(x[:30], data.y[:30]), "b": SiteData(x, data.y)})
    both = np.vstack([x[:30], x]).astype(np.float64)
    z = StandardScaler().fit_transform(both)
    y = np.concatenate([data.y[:30], data.y])
    # Of exact integers, so that the spread within classes is exactly zero there, too.
    z[:, -1] = np.round((z[:, -1] - z[:, -1].min()) / np.ptp(z[:, -1]) * 2)
    with pytest.warns(UserWarning, match="zero standard deviation"):
        nearest = NearestCentroid(priors="empirical").fit(z, y)
    spread = np.where(nearest.within_class_std_dev_ == 0, 1.0, nearest.within_class_std_dev_)
    expected = 2.0 * nearest.centroids_[:, :-1] / np.square(spread[:-1])
    np.testing.assert_allclose(state.arrays["coef"][:, :-1], expected, rtol=1e-9)
    levels = np.array([both[y == label, -1][0] for label in range(3)])
    standardised = (levels - both[:, -1].mean()) / both[:, -1].std()
    np.testing.assert_allclose(state.arrays["coef"][:, -1], 2.0 * standardised, rtol=1e-9)


def test_a_spread_needs_more_images_than_classes() -> None:
    sites = {"here": SiteData(X[:1], Y[:1]), "there": SiteData(X[1:2], Y[1:2])}
    learner = make_learner("ncm", PAIR, "priors=empirical calibrate=none")
    with pytest.raises(ContributionError, match="more training images than classes"):
        fit_sites(learner, sites)
    fit_sites(make_learner("ncm", PAIR, "calibrate=none"), sites)


def test_there_is_nothing_to_search() -> None:
    with pytest.raises(SettingsError, match="ncm has nothing to choose"):
        make_learner("ncm", PAIR, "folds=5 search=grid:0.1:1:3")


def test_sums_that_no_images_can_have_are_refused() -> None:
    learner = make_learner("ncm", PAIR, "calibrate=none")
    state = learner.update(learner.start(), learner.contribute(SiteData(X, Y), learner.start()))
    sums = learner.contribute(SiteData(X, Y), state)
    learner.verify("class_sum", sums)
    forged = {**sums.arrays, "class_sum": sums.arrays["class_sum"] + 3.0}
    with pytest.raises(ContributionError, match="square_sum: smaller than"):
        learner.verify("class_sum", Contribution(4, forged))
    endless = {**sums.arrays, "class_sum": np.full((2, 1), 1e308)}
    with pytest.raises(ContributionError, match="no images can have the sums"):
        learner.update(state, Contribution(4, endless))
