"""The items of TRIPOD+AI: 27 main ones, 52 with their parts."""

from __future__ import annotations

from collections.abc import Sequence

from simulations.report import card_facts as facts
from simulations.report.checklist import Checklist, Fill, Item
from simulations.report.loading import Run

_INTRODUCTION, _METHODS, _OPEN = "Introduction", "Methods", "Open science"
_RESULTS, _DISCUSSION = "Results", "Discussion"


def _says(text: str) -> Fill:
    return lambda _: text


def _title(runs: Sequence[Run]) -> str:
    return (
        "Development and evaluation of a federated classifier of skin lesions from dermatoscopic "
        f"images, {facts.classes(runs)[0].lower()}{facts.classes(runs)[1:]}"
    )


def _objectives(runs: Sequence[Run]) -> str:
    return "Questions of the studies: " + " ".join(facts.plain(run.study.question) for run in runs)


def _counts(runs: Sequence[Run]) -> str:
    return f"{facts.test_sizes(runs)} {facts.class_counts(runs)}"


def _model(runs: Sequence[Run]) -> str:
    return (
        f"A frozen backbone ({facts.plain(runs[0].study.settings.backbone)}, ImageNet weights) and "
        "a linear or discriminant head learned over the sites by exact sums: "
        f"{facts.learners(runs)}. {facts.exactness(runs)}"
    )


def _performance(runs: Sequence[Run]) -> str:
    return f"{facts.headline(runs)} {facts.draws(runs)} {facts.groups(runs)} All in the report."


TRIPOD_AI = Checklist(
    "TRIPOD+AI",
    "Collins et al., BMJ 2024;385:e078378 (27 main items, 52 with their parts).",
    (
        Item("1", "Title", "Kind of study, target population, outcome", _title, "population."),
        Item("2", "Abstract", "Abstract by its own checklist", None, "the abstract."),
        Item("3a", _INTRODUCTION, "Healthcare context, rationale, existing models", None,
             "context and literature."),
        Item("3b", _INTRODUCTION, "Target population, purpose in the care pathway, users",
             _says("Research only; not for use on patients."),
             "population and pathway that a later product would have."),
        Item("3c", _INTRODUCTION, "Known health inequalities between groups", None,
             "inequalities in skin-cancer care in the target population."),
        Item("4", _INTRODUCTION, "Objectives; development, evaluation or both", _objectives),
        Item("5a", _METHODS, "Sources of data, rationale, representativeness", facts.cohorts,
             "why these data, and whom they represent."),
        Item("5b", _METHODS, "Dates of data collection", None, "start and end of accrual."),
        Item("6a", _METHODS, "Setting, number and location of centres", facts.cohorts,
             "kind of care and place of each centre."),
        Item("6b", _METHODS, "Eligibility of participants", None, "criteria of each centre."),
        Item("6c", _METHODS, "Treatments received", None, "treatments, or that none matter."),
        Item("7", _METHODS, "Preparation and quality checks of data, alike across groups",
             _says("Each image is cropped to its central square and resized to the backbone's "
                   "input; unreadable images are named in the notes of the run."),
             "checks done before the cohort was released."),
        Item("8a", _METHODS, "Outcome, how and when assessed, alike across groups",
             facts.classes, "how each diagnosis was made, and why these classes."),
        Item("8b", _METHODS, "Assessors of the outcome, where it is subjective", None,
             "their qualifications and demographics."),
        Item("8c", _METHODS, "Blinding of the outcome's assessment", None, "blinding, or none."),
        Item("9a", _METHODS, "Choice of predictors", facts.predictors),
        Item("9b", _METHODS, "Predictors, how and when measured",
             _says("Dermatoscopic image."), "devices, lighting and time of each image."),
        Item("9c", _METHODS, "Assessors of predictors, where subjective",
             _says("None: features are computed.")),
        Item("10", _METHODS, "Study size and its justification", facts.test_sizes,
             "why this is enough, or that the data at hand decided."),
        Item("11", _METHODS, "Missing data",
             _says("Images without age, sex or localisation are kept; they are groups named "
                   "unknown. Unreadable images stop a run unless it was told to leave them out.")),
        Item("12a", _METHODS, "Use and partition of data", facts.split),
        Item("12b", _METHODS, "Handling of predictors",
             _says("Features are standardised by the mean and deviation of the training images of "
                   "all participating sites.")),
        Item("12c", _METHODS, "Model, building steps, tuning, internal validation", _model,
             "rationale of the learners and of their settings."),
        Item("12d", _METHODS, "Heterogeneity between clusters: how handled, how measured",
             _says("Every metric is told by site; gap, ratio and deviation over sites have "
                   "intervals.")),
        Item("12e", _METHODS, "Measures and plots of performance",
             _says("Balanced accuracy, AUC, sensitivity at 95% specificity, calibration error, "
                   "Brier score, risk by coverage; heat map, forest plots, reliability curves and "
                   "confusion matrices.")),
        Item("12f", _METHODS, "Updating of the model in the evaluation",
             _says("Where a study has it, the federated head is adapted to the site's own training "
                   "images; told as a model of its own.")),
        Item("12g", _METHODS, "How predictions were calculated",
             _says("By the code of this project; each is in the run folder's predictions.csv.")),
        Item("13", _METHODS, "Class imbalance: methods and recalibration",
             facts.imbalance),
        Item("14", _METHODS, "Approaches to fairness", facts.groups,
             "why these groups. No step of training changes results by group."),
        Item("15", _METHODS, "Output and thresholds",
             _says("A probability for each class; the largest is the prediction. Sensitivity at "
                   "95% specificity chooses its threshold on the test images themselves: it tells "
                   "of the ranking, not of a threshold fixed beforehand.")),
        Item("16", _METHODS, "Differences between development and evaluation data",
             _says("With a site left out, the sites differ; else training and test images come "
                   "from the same sites."), "differences of setting and devices."),
        Item("17", _METHODS, "Ethical approval and consent", None, "committee and consent."),
        Item("18a", _OPEN, "Funding", None, "sources and role of funders."),
        Item("18b", _OPEN, "Conflicts of interest", None, "of all authors."),
        Item("18c", _OPEN, "Protocol", None, "where it is, or that there is none."),
        Item("18d", _OPEN, "Registration", None, "register and number, or none."),
        Item("18e", _OPEN, "Sharing of data", None, "availability and licence of the cohort."),
        Item("18f", _OPEN, "Sharing of code", facts.software, "where the code is published."),
        Item("19", "Patient and public involvement", "Involvement in the study", None,
             "involvement, or none."),
        Item("20a", _RESULTS, "Flow of participants", _counts, "flow before these data."),
        Item("20b", _RESULTS, "Characteristics overall and by setting", _counts,
             "demographics and missing values of each centre."),
        Item("20c", _RESULTS, "Comparison with the development data",
             _says("Images by site and class are in the report's cohort table."),
             "comparison with the population of use."),
        Item("21", _RESULTS, "Participants and events in each analysis", _counts),
        Item("22", _RESULTS, "The full model, for use by others",
             _says("A run of a simulation has the model in its folder; a study fits many and keeps "
                   "predictions."), "access and restrictions."),
        Item("23a", _RESULTS, "Performance with intervals, by subgroup", _performance),
        Item("23b", _RESULTS, "Heterogeneity between clusters", facts.heterogeneity),
        Item("24", _RESULTS, "Results of updating",
             _says("Where a study has an adapted model, its results are in the report.")),
        Item("25", _DISCUSSION, "Interpretation, fairness included", None, "interpretation."),
        Item("26", _DISCUSSION, "Limitations",
             _says("See Limits above."), "what else limits this study."),
        Item("27a", _DISCUSSION, "Input of poor quality at the time of use",
             _says("Not handled: no check of image quality."), "how it would be."),
        Item("27b", _DISCUSSION, "What users do, and the expertise that they need", None,
             "interaction and expertise."),
        Item("27c", _DISCUSSION, "Next steps, applicability", None, "next steps."),
    ),
)  # fmt: skip
