"""Comparison: backbones x classifiers x treatments of imbalance, cross-validated by lesion.

Beside them stand networks that are fine-tuned on the same split with the same augmentation: heads
may learn from augmented views, too.
"""

from __future__ import annotations

from common.finetuning.settings import read_training
from common.imbalance import read_treatment
from simulations.studies.base import Label, Pair, Plan, Study, Value
from simulations.studies.fine_tuning import TUNED
from simulations.studies.fit import BASELINE, Fit

FEDERATED, SHORTCUT, MAJORITY = "federated", "shortcut", "majority"
# Treatments that are no resampling: what the loss gives each image.
UNWEIGHTED, WEIGHTED = "none", "weights"
DEFAULT_TREATMENTS = (UNWEIGHTED, WEIGHTED, "smote")
ANY = "any features"


def condition(backbone: str, treatment: str, views: int = 0) -> str:
    """Name a column of the comparison."""
    return f"{backbone}, {treatment}" + (f", views {views}" if views else "")


def tuned_condition(backbone: str) -> str:
    """Name the column of networks that are fine-tuned."""
    return f"{backbone}, {TUNED}"


def _treatments(plan: Plan) -> tuple[str, ...]:
    return plan.treatments or DEFAULT_TREATMENTS


def fits(plan: Plan) -> list[Fit]:
    """List a federation for each backbone, learner, treatment, number of views and turn."""
    found = []
    for seed in plan.split_seeds:
        for turn in range(plan.turns):
            found.append(Fit(BASELINE, (MAJORITY, SHORTCUT), ANY, seed, turn=turn))
            found += [
                fit for backbone in plan.backbones for fit in _fits(plan, backbone, seed, turn)
            ]
    return found


def _fits(plan: Plan, backbone: str, seed: int, turn: int) -> list[Fit]:
    frozen = [
        Fit(
            learner,
            (FEDERATED,),
            condition(backbone, treatment, views),
            seed,
            backbone=backbone,
            turn=turn,
            class_weight="balanced" if treatment == WEIGHTED else "none",
            imbalance=resampling(treatment),
            views=views,
        )
        for views in plan.views
        for treatment in _treatments(plan)
        for learner in plan.learners
    ]
    strategies = plan.strategies if backbone in plan.tuned else ()
    tuned = [
        Fit(
            strategy,
            (TUNED,),
            tuned_condition(backbone),
            seed,
            seed=plan.seed + seed,
            backbone=backbone,
            turn=turn,
            training=plan.training,
        )
        for strategy in strategies
    ]
    return frozen + tuned


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
    """Name model and condition; give backbone, treatment and number of views as values."""
    backbone, _, rest = fit.condition.partition(", ")
    treatment = rest.partition(", ")[0]
    if fit.training:
        treatment = read_training(fit.training).balance
    about: dict[str, Value] = {"backbone": backbone, "treatment": treatment, "views": fit.views}
    return Label(model, fit.condition, about)


def pairs(plan: Plan) -> list[Pair]:
    """List what is compared.

    Treatments with the first, numbers of views with the first, backbones with the first, and all
    with the shortcut; each fine-tuned network with each head that has seen the most views, on each
    backbone's features.
    """
    first, *others = _treatments(plan)
    least, *more = plan.views
    found = []
    for backbone in plan.backbones:
        base = (FEDERATED, condition(backbone, first, least))
        found += [Pair((FEDERATED, condition(backbone, one, least)), base) for one in others]
        found += [Pair((FEDERATED, condition(backbone, first, one)), base) for one in more]
    for backbone in plan.tuned:
        found += _tuned_pairs(plan, backbone)
    for treatment in (first, *others):
        base = (FEDERATED, condition(plan.backbones[0], treatment, least))
        found += [
            Pair((FEDERATED, condition(one, treatment, least)), base) for one in plan.backbones[1:]
        ]
        found.append(Pair(base, (SHORTCUT, ANY)))
    return found


def _tuned_pairs(plan: Plan, backbone: str) -> list[Pair]:
    tuned = (TUNED, tuned_condition(backbone))
    return [
        Pair(
            tuned,
            (FEDERATED, condition(frozen, treatment, max(plan.views))),
            learners=(strategy, learner),
        )
        for strategy in plan.strategies
        for frozen in plan.backbones
        for learner in plan.learners
        for treatment in _treatments(plan)
    ]


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
        "soft-vote members=logistic:pca=128,lda,svm:kernel=rff:pca=128",
    ),
    by=("all", "site"),
    fits=fits,
    label=label,
    pairs=pairs,
)
