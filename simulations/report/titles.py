"""What models, attributes and learners are called on the page."""

from __future__ import annotations

from common.finetuning.strategies import STRATEGIES

FEDERATED, POOLED, LOCAL = "federated", "pooled", "local"
PERSONALISED, MAJORITY, SHORTCUT = "personalised", "majority", "shortcut"
FINE_TUNED, FROZEN = "fine-tuned", "frozen head"
POOLED_NETWORK, LOCAL_NETWORK = "pooled network", "local network"
# Models that depend on no learner or strategy; they stand under a learner of this name.
BASELINE = "baseline"
BASELINES = (MAJORITY, SHORTCUT, POOLED_NETWORK, LOCAL_NETWORK)

# In the order in which they are shown: name, short title, what it is.
MODELS = {
    FEDERATED: ("federated", "trained over the sites together, no image leaving any of them"),
    FINE_TUNED: (
        "fine-tuned",
        "a network fine-tuned over the sites together, no image leaving any of them",
    ),
    FROZEN: ("frozen head", "the exact federated head that fine-tuning began with"),
    POOLED_NETWORK: (
        "pooled network",
        "a network fine-tuned on all training images in one place, in as many steps",
    ),
    LOCAL_NETWORK: ("one site's network", "a network that each site fine-tunes alone"),
    POOLED: (
        "pooled",
        "scikit-learn on all training images in one place: what a federation could at best equal",
    ),
    LOCAL: ("one site alone", "trained on a single site's own images"),
    PERSONALISED: ("adapted", "federated, then adapted at the site that it is tested at"),
    SHORTCUT: (
        "no image",
        "predicts from site, age, sex and localisation alone, without looking at the image",
    ),
    MAJORITY: ("majority class", "always predicts the most frequent class"),
}
_ATTRIBUTES = {
    "all": "all test images",
    "site": "site",
    "client": "simulated site",
    "sex": "sex",
    "age_band": "age",
    "localisation": "localisation",
    "label_source": "how the diagnosis was made",
    "skin_tone": "skin tone estimate",
}


def model_title(model: str) -> str:
    """Name a model in a few words."""
    return MODELS[model][0] if model in MODELS else model


def model_meaning(model: str) -> str:
    """Tell what a model is; empty for one that is unknown here."""
    return MODELS[model][1] if model in MODELS else ""


def attribute_title(by: str) -> str:
    """Name the attribute that groups are made by."""
    return _ATTRIBUTES.get(by, by)


def head_name(learner: str) -> str:
    """Name a learner with its settings: ``logistic pca=128`` is "logistic head (pca=128)".

    A strategy of fine-tuning makes a network: ``fedprox mu=0.1`` is "fedprox network (mu=0.1)".
    """
    name, _, settings = learner.partition(" ")
    kind = "network" if name in STRATEGIES else "head"
    return f"{name} {kind} ({settings})" if settings else f"{name} {kind}"


def listed(names: list[str] | tuple[str, ...]) -> str:
    """Write a list as words: "a", "a and b", "a, b and c"."""
    if len(names) < 2:
        return "".join(names)
    return f"{', '.join(names[:-1])} and {names[-1]}"
