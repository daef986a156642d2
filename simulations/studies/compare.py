"""Comparison: backbones x classifiers x treatments of imbalance, cross-validated by lesion."""

from __future__ import annotations

from common.imbalance import read_treatment
from simulations.studies.base import Label, Pair, Plan, Study
from simulations.studies.fit import BASELINE, Fit

FEDERATED, SHORTCUT, MAJORITY = "federated", "shortcut", "majority"
# Treatments that are no resampling: what the loss gives each image.
UNWEIGHTED, WEIGHTED = "none", "weights"
DEFAULT_TREATMENTS = (UNWEIGHTED, WEIGHTED, "smote")
ANY = "any features"


def condition(backbone: str, treatment: str) -> str:
    """Name a column of the comparison."""
    return f"{backbone}, {treatment}"


def _treatments(plan: Plan) -> tuple[str, ...]:
    return plan.treatments or DEFAULT_TREATMENTS


def fits(plan: Plan) -> list[Fit]:
    """List a federation for each backbone, learner, treatment and turn of the split."""
    found = []
    for seed in plan.split_seeds:
        for turn in range(plan.turns):
            found.append(Fit(BASELINE, (MAJORITY, SHORTCUT), ANY, seed, turn=turn))
            found += [
                Fit(
                    learner,
                    (FEDERATED,),
                    condition(backbone, treatment),
                    seed,
                    backbone=backbone,
                    turn=turn,
                    class_weight="balanced" if treatment == WEIGHTED else "none",
                    imbalance=resampling(treatment),
                )
                for backbone in plan.backbones
                for treatment in _treatments(plan)
                for learner in plan.learners
            ]
    return found


def resampling(treatment: str) -> str:
    """Give what `common.imbalance.Treatment.text` is of a treatment; empty where it is none.

    Raises
    ------
    SettingsError
        If there is no such treatment.
    """
    if treatment in (UNWEIGHTED, WEIGHTED):
        return ""
    return read_treatment(treatment).text


def label(fit: Fit, model: str) -> Label:
    """Name model and condition, and give the backbone and the treatment as values."""
    backbone, _, treatment = fit.condition.partition(", ")
    return Label(model, fit.condition, {"backbone": backbone, "treatment": treatment})


def pairs(plan: Plan) -> list[Pair]:
    """Compare treatments with the first, backbones with the first, and all with the shortcut."""
    first, *others = _treatments(plan)
    found = []
    for backbone in plan.backbones:
        base = (FEDERATED, condition(backbone, first))
        found += [Pair((FEDERATED, condition(backbone, one)), base) for one in others]
    for treatment in (first, *others):
        base = (FEDERATED, condition(plan.backbones[0], treatment))
        found += [Pair((FEDERATED, condition(one, treatment)), base) for one in plan.backbones[1:]]
        found.append(Pair(base, (SHORTCUT, ANY)))
    return found


STUDY = Study(
    name="compare",
    question="Which backbone, which classifier, and which treatment of imbalance?",
    learners=(
        "logistic pca=128",
        "ridge",
        "lda",
        "svm",
        "svm kernel=rff pca=128",
        "forest min_leaf=5",
        "xgboost",
    ),
    by=("all", "site"),
    fits=fits,
    label=label,
    pairs=pairs,
)
