"""The most confident mistakes: where the model was surest and wrong."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from simulations.report.facts import Facts
from simulations.report.predictions_table import PredictionsTable

MOST, MOST_OF_A_SITE = 12, 4


@dataclass(frozen=True)
class Mistake:
    """One image that was predicted wrong.

    Attributes
    ----------
    image_id, lesion, site : str
        Which image.
    truth, predicted : str
        Classes.
    confidence : float
        Probability of the predicted class.
    split_seed : str
        The split in which it was a test image.
    """

    image_id: str
    lesion: str
    site: str
    truth: str
    predicted: str
    confidence: float
    split_seed: str

    @property
    def where(self) -> dict[str, str]:
        """Tell a program which prediction this is."""
        return {"kind": "mistake", "image": self.image_id, "split-seed": self.split_seed}


def confident_mistakes(facts: Facts, predictions: PredictionsTable) -> list[Mistake]:
    """Choose the first learner's federated model's surest mistakes, surest first.

    At most `MOST`, of one site at most `MOST_OF_A_SITE`, and of one lesion one.

    Parameters
    ----------
    facts : Facts
        The study.
    predictions : PredictionsTable
        Its predictions.
    """
    text = predictions.text
    rows = predictions.rows(
        learner=facts.learner, model=facts.model, condition=facts.main_condition
    )
    rows = rows[text["y_true"][rows] != text["y_pred"][rows]]
    column = {name: index for index, name in enumerate(predictions.classes)}
    confidence = [
        float(predictions.probabilities[row, column[str(text["y_pred"][row])]]) for row in rows
    ]
    order = sorted(
        range(len(rows)),
        key=lambda i: (-confidence[i], str(text["image_id"][rows[i]]), int(rows[i])),
    )
    chosen: list[Mistake] = []
    of_site: Counter[str] = Counter()
    lesions: set[str] = set()
    for i in order:
        row = rows[i]
        site, lesion = str(text["site"][row]), str(text["cluster"][row])
        if lesion in lesions or of_site[site] >= MOST_OF_A_SITE:
            continue
        lesions.add(lesion)
        of_site[site] += 1
        chosen.append(
            Mistake(
                image_id=str(text["image_id"][row]),
                lesion=str(text["lesion_id"][row]),
                site=site,
                truth=str(text["y_true"][row]),
                predicted=str(text["y_pred"][row]),
                confidence=confidence[i],
                split_seed=str(text["split_seed"][row]),
            )
        )
        if len(chosen) == MOST:
            break
    return chosen
