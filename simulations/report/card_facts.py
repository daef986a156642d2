"""Sentences of a model card that are filled from the runs."""

from __future__ import annotations

from collections.abc import Sequence

from simulations.report.facts import ALL, BALANCED, FEW_LESIONS, Facts
from simulations.report.loading import Run
from simulations.report.numbers import Shown, count, format_number
from simulations.report.titles import attribute_title, head_name, listed, model_title

_SPECIAL = "\\`*_{}[]<>#|&!~$"


def plain(text: str) -> str:
    """Make a text from data harmless in Markdown: no markup, no HTML, one line."""
    line = " ".join(text.split())
    shown = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in line)
    return "".join(f"\\{c}" if c in _SPECIAL else c for c in shown)


def interval(shown: Shown | None) -> str:
    """Write a value with its interval."""
    if shown is None or shown.value is None:
        return "no value"
    value = format_number(shown.value, 2, shown.signed)
    mark = "†" if shown.few else ""
    if not shown.has_interval:
        return f"{value}{mark}"
    _, low, high = shown.triple
    ends = " to ".join(format_number(end, 2, shown.signed) for end in (low, high))
    return f"{value} ({ends}){mark}"


def learners(runs: Sequence[Run]) -> str:
    """List the learners of all runs."""
    names = dict.fromkeys(name for run in runs for name in run.study.settings.learners)
    return listed([plain(name) for name in names])


def cohorts(runs: Sequence[Run]) -> str:
    """Describe the cohorts in a sentence each."""
    found = {run.study.cohort.name: run.study.cohort for run in runs}
    return " ".join(
        f"{plain(name)}: {count(one.images)} images of {count(one.lesions)} lesions at "
        f"{len(one.sites)} sites ({', '.join(plain(site) for site in one.sites)})."
        for name, one in found.items()
    )


def classes(runs: Sequence[Run]) -> str:
    """List the classes and which of them are malignant."""
    cohort = runs[0].study.cohort
    ill = ", ".join(map(plain, cohort.malignant))
    end = f", of which malignant or treated as such: {ill}" if ill else ""
    return f"One of {len(cohort.classes)} classes: {', '.join(map(plain, cohort.classes))}{end}."


def class_counts(runs: Sequence[Run]) -> str:
    """Count images of each class over all sites."""
    cohort = runs[0].study.cohort
    totals = {
        name: sum(site.classes.get(name, 0) for site in cohort.sites.values())
        for name in cohort.classes
    }
    shown = ", ".join(f"{plain(name)} {count(n)}" for name, n in totals.items())
    return f"Images by class: {shown}. By site in the report's cohort table."


def test_sizes(runs: Sequence[Run]) -> str:
    """Tell how many test images each study measured its main condition on."""
    said = []
    for run in runs:
        facts = Facts(run.study)
        cell = facts.cell(facts.model, facts.main_condition, ALL, ALL)
        if cell is not None:
            images = listed([count(n) for n in cell.images])
            said.append(
                f"{run.study.study}: {images} test images by split seed, of "
                f"{count(cell.lesions)} lesions."
            )
    return " ".join(said)


def headline(runs: Sequence[Run]) -> str:
    """Tell each study's first result."""
    said = []
    for run in runs:
        facts = Facts(run.study)
        value = facts.value(facts.model, facts.main_condition, ALL, ALL, BALANCED)
        said.append(
            f"{run.study.study} ({plain(facts.main_condition)}): balanced accuracy of the "
            f"federated {plain(head_name(facts.learner))} {interval(value)}."
        )
    return " ".join(said)


def split(runs: Sequence[Run]) -> str:
    """Describe the split of the data."""
    seeds = dict.fromkeys(str(seed) for run in runs for seed in run.study.settings.split_seeds)
    return (
        "Lesions (with listed duplicates) are split 70% training, 10% validation, 20% test by a "
        f"hash of split seed and lesion; split seeds {', '.join(seeds)}."
    )


def imbalance(runs: Sequence[Run]) -> str:
    """Tell what was done against imbalance of classes."""
    found = dict.fromkeys(run.study.settings.imbalance for run in runs)
    named = [plain(text) for text in found if text]
    how = f"Each site resampled its training images before it summed ({listed(named)}). "
    return (
        f"{how if named else ''}Training weighs classes alike; a temperature fitted on validation "
        "images rescales the probabilities. They do not hold at a clinic's own prevalence."
    )


def predictors(runs: Sequence[Run]) -> str:
    """Tell what the models see."""
    texts = dict.fromkeys(run.study.settings.metadata for run in runs)
    named = [plain(text) for text in texts if text]
    fused = bool(named) or any(run.study.study == "fusion" for run in runs)
    beside = (
        f"The image, and age, sex and localisation beside it ({listed(named) or 'compared'}), "
        "coded over a fixed vocabulary in which a missing value has a column of its own. "
    )
    sees = beside if fused else "The image alone. "
    return f"{sees}A comparator sees site, age, sex and localisation instead."


def heterogeneity(runs: Sequence[Run]) -> str:
    """Tell the lowest and the highest site of each study."""
    said = []
    for run in runs:
        facts = Facts(run.study)
        values = {
            site: shown
            for site in facts.groups("site")
            if (shown := facts.value(facts.model, facts.main_condition, "site", site, BALANCED))
        }
        if len(values) > 1:
            low = min(values, key=lambda site: values[site].value or 0.0)
            high = max(values, key=lambda site: values[site].value or 0.0)
            said.append(
                f"{run.study.study}: balanced accuracy from {interval(values[low])} at "
                f"{plain(low)} to {interval(values[high])} at {plain(high)}."
            )
    return " ".join(said) or "No study of these runs tells results by site."


def groups(runs: Sequence[Run]) -> str:
    """List the attributes that results are told by."""
    found = dict.fromkeys(by for run in runs for by in Facts(run.study).attributes)
    names = [attribute_title(by) for by in found]
    return f"Results are told by {listed(names)}." if names else "Results are told overall only."


def baselines(runs: Sequence[Run]) -> str:
    """List the models that stand beside the federated one."""
    found = dict.fromkeys(
        model
        for facts in (Facts(run.study) for run in runs)
        for model, _ in facts.series
        if model != facts.model
    )
    names = listed([plain(model_title(model)) for model in found])
    return f"Beside the federated model stand: {names}." if names else "No other model was run."


def exactness(runs: Sequence[Run]) -> str:
    """Tell in how many predictions federated and pooled training differ."""
    checks = [one for run in runs for one in run.study.exactness]
    if not checks:
        return "Federated and pooled training were not compared."
    total, differ = sum(c.predictions for c in checks), sum(c.differ for c in checks)
    return f"Federated and pooled training differ in {count(differ)} of {count(total)} predictions."


def software(runs: Sequence[Run]) -> str:
    """List versions."""
    versions = runs[0].study.versions
    return ", ".join(f"{plain(name)} {plain(number)}" for name, number in versions.items()) + "."


def draws(runs: Sequence[Run]) -> str:
    """Describe the intervals."""
    numbers = dict.fromkeys(count(run.study.settings.draws) for run in runs)
    return (
        f"95% intervals are accelerated percentiles over {listed(list(numbers))} resamples of "
        f"lesions. They are marked † where a class has fewer than {FEW_LESIONS} lesions: likely "
        "too narrow."
    )
