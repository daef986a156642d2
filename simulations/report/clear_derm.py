"""The items of CLEAR Derm: 25 on data, technique, technical assessment and application."""

from __future__ import annotations

from collections.abc import Sequence

from simulations.report import card_facts as facts
from simulations.report.checklist import Checklist, Fill, Item
from simulations.report.facts import Facts
from simulations.report.loading import Run
from simulations.skin_tone import CONFOUNDED

_DATA, _TECHNIQUE = "Data", "Technique"
_ASSESSMENT, _APPLICATION = "Technical assessment", "Application"


def _says(text: str) -> Fill:
    return lambda _: text


def _skin_colour(runs: Sequence[Run]) -> str:
    told = any("skin_tone" in Facts(run.study).attributes for run in runs)
    if not told:
        return "These runs have no result by skin colour."
    return f"Individual typology angle of the skin around the lesion's mask. {CONFOUNDED}"


def _external(runs: Sequence[Run]) -> str:
    if any(run.study.study == "leave-one-site-out" for run in runs):
        return (
            "Each site in turn is a test site that no training image came from; all sites belong "
            "to one published cohort."
        )
    return "None in these runs: test images come from sites that took part in training."


def _performance(runs: Sequence[Run]) -> str:
    return f"{facts.headline(runs)} {facts.draws(runs)}"


def _bias(runs: Sequence[Run]) -> str:
    return f"{facts.groups(runs)} {facts.heterogeneity(runs)}"


CLEAR_DERM = Checklist(
    "CLEAR Derm",
    "Daneshjou et al., JAMA Dermatology 2022;158(1):90-96 (25 items).",
    (
        Item("1", _DATA, "Types of image", _says("Still images of single lesions."),
             "dermatoscopic or clinical, by centre."),
        Item("2", _DATA, "Artefacts in the images", None,
             "rulers, ink, hair, dark corners and other marks."),
        Item("3", _DATA, "Details of acquisition", None, "devices, lighting, polarisation."),
        Item("4", _DATA, "Pre-processing",
             _says("Central square crop and bicubic resize to the backbone's input."),
             "what was done before the cohort was released."),
        Item("5", _DATA, "Synthetic images, made public if used",
             _says("None are made by these studies."), "whether the cohort itself is synthetic."),
        Item("6", _DATA, "Public images, with references", facts.cohorts,
             "citation and licence of each source."),
        Item("7", _DATA, "Metadata of patients", facts.groups,
             "ethnicity, history and geography, as far as known."),
        Item("8", _DATA, "Skin colour and how it was determined", _skin_colour,
             "skin types, if anybody assessed them."),
        Item("9", _DATA, "Bias that metadata may bring",
             _says("A model that predicts from site, age, sex and localisation alone is a "
                   "comparator: what it reaches needs no image."), "other sources of bias."),
        Item("10", _DATA, "Partition into training, validation and test", facts.split),
        Item("11", _DATA, "Sizes of the parts", facts.test_sizes),
        Item("12", _DATA, "External test data", _external, "test data of an independent source."),
        Item("13", _DATA, "Images from devices of several makers",
             _says("Sites stand for devices only roughly."), "makers and devices by centre."),
        Item("14", _DATA, "Distribution and balance of classes", facts.class_counts),
        Item("15", _DATA, "Images outside of the distribution",
             _says("Not tested: every test image is of a class that the model knows."),
             "what else a camera may show."),
        Item("16", _TECHNIQUE, "Labels: how made, and by whom",
             _says("Taken from the cohort's table; where it tells how a diagnosis was made, the "
                   "fairness study tells results by that."), "who made them."),
        Item("17", _TECHNIQUE, "Accepted names of diagnoses", facts.classes,
             "the terminology that they follow."),
        Item("18", _TECHNIQUE, "Histopathology of malignant lesions", None,
             "share of malignant diagnoses proven so."),
        Item("19", _TECHNIQUE, "Development of the algorithm", facts.learners,
             "why these learners."),
        Item("20", _ASSESSMENT, "How others can evaluate it",
             _says("By running the same study on a cohort of their own."), "public access."),
        Item("21", _ASSESSMENT, "Measures of performance", _performance),
        Item("22", _ASSESSMENT, "Comparison with others, and novelty", facts.baselines,
             "comparison with published models and with readers."),
        Item("23", _ASSESSMENT, "Assessment of bias", _bias),
        Item("24", _APPLICATION, "Use cases and target conditions",
             _says("Research only. Classes as in item 17; others are outside of its scope."),
             "intended use of a later product."),
        Item("25", _APPLICATION, "Effects on the care team and on patients", None,
             "expected benefit and harm."),
    ),
)  # fmt: skip
