"""Which treatment of imbalance a run asks for: ``"smote neighbours=3"``, checked in one place."""

from __future__ import annotations

from typing import Literal, Self, get_args

from pydantic import BaseModel, ConfigDict, Field, model_validator

from common.errors import SettingsError
from common.learners.settings import check_settings, parse_assignments

Kind = Literal["none", "oversample", "undersample", "smote", "borderline-smote", "adasyn"]
KINDS: tuple[str, ...] = get_args(Kind)
_OF = "imbalance"
# NumPy's `RandomState`, which imbalanced-learn draws from, takes no more.
_SEEDS = 2**32
_WITHOUT_NEIGHBOURS = ("oversample", "undersample")


class Treatment(BaseModel):
    """A treatment and its settings.

    Attributes
    ----------
    kind : str
        ``none``; ``oversample`` or ``undersample``, at random; ``smote``, ``borderline-smote`` or
        ``adasyn``, which make images up in feature space.
    neighbours : int
        Images of the same class that a made-up one may lie towards.
    ratio : float
        How far classes are brought together, within a site: smaller ones to this share of the
        site's largest class, or, under-sampled, larger ones until the smallest is this share.
    seed : int
        Of what is drawn. Another seed draws other images, with the same numbers.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Kind = "none"
    neighbours: int = Field(5, ge=1, le=100)
    ratio: float = Field(1.0, gt=0.0, le=1.0)
    seed: int = Field(0, ge=0, lt=_SEEDS)

    @model_validator(mode="after")
    def _only_what_it_uses(self) -> Self:
        given = self.model_fields_set - {"kind"}
        if self.kind == "none" and given:
            raise ValueError(f"none has no {', '.join(sorted(given))}")
        if self.kind in _WITHOUT_NEIGHBOURS and "neighbours" in given:
            raise ValueError(f"{self.kind} has no neighbours")
        return self

    @property
    def adds(self) -> bool:
        """Whether it adds images, repeated or made up."""
        return self.kind not in ("none", "undersample")

    @property
    def text(self) -> str:
        """What `read_treatment` reads, one text for one treatment; empty for none."""
        if self.kind == "none":
            return ""
        changed = [
            f"{name}={getattr(self, name)}"
            for name, field in type(self).model_fields.items()
            if name != "kind" and getattr(self, name) != field.default
        ]
        return " ".join([self.kind, *changed])


UNTREATED = Treatment()


def read_treatment(text: str) -> Treatment:
    """Read ``"KIND key=value key=value"``; nothing, or ``none``, is no treatment.

    Raises
    ------
    SettingsError
        Naming the kind that is unknown, or each setting that is unknown or out of bounds.
    """
    kind, _, settings = text.strip().partition(" ")
    if not kind:
        return UNTREATED
    if kind not in KINDS:
        raise SettingsError(f"{_OF} {kind!r} is unknown; choose one of: {', '.join(KINDS)}")
    values = parse_assignments(settings, _OF)
    if "kind" in values:
        raise SettingsError(f"{_OF} settings: kind is given twice")
    return check_settings(Treatment, {"kind": kind, **values}, _OF)
