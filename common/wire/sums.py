"""Contributions, states and sites' registrations as Flower records, and back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields

from flwr.app import ConfigRecord, RecordDict

from common.errors import ContributionError
from common.learners.base import ArraySpec, Contribution, State
from common.learners.checked import check_arrays
from common.site_info import SiteInfo
from common.split import Split
from common.wire.records import (
    ARRAYS,
    CONFIG,
    MAX_NAME,
    config_of,
    decode_arrays,
    encode_arrays,
    shown,
)

JOIN = "query.join"
CONTRIBUTE = "train.contribute"
EVALUATE = "evaluate.sums"

_MAX_NAMES, _MAX_DIGITS = 10_000, 3


def encode_state(state: State) -> RecordDict:
    """Pack a state for the sites."""
    config = ConfigRecord({"stage": state.stage})
    return RecordDict({ARRAYS: encode_arrays(state.arrays), CONFIG: config})


def decode_stage(content: RecordDict) -> str:
    """Read the stage that a coordinator asks for."""
    stage = config_of(content).get("stage")
    if not isinstance(stage, str) or not 0 < len(stage) <= MAX_NAME or not stage.isprintable():
        raise ContributionError("stage: missing or not a name")
    return stage


def decode_state(content: RecordDict, spec: Mapping[str, ArraySpec]) -> State:
    """Unpack and check a state.

    Raises
    ------
    ContributionError
        If it is not what `spec` asks for.
    """
    arrays = decode_arrays(content, spec)
    check_arrays(arrays, spec)
    return State(decode_stage(content), arrays)


def encode_contribution(contribution: Contribution) -> RecordDict:
    """Pack a contribution for the coordinator."""
    config = ConfigRecord({"count": contribution.count})
    return RecordDict({ARRAYS: encode_arrays(contribution.arrays), CONFIG: config})


def decode_contribution(
    content: RecordDict, spec: Mapping[str, ArraySpec], registered: int
) -> Contribution:
    """Unpack and check a contribution.

    Parameters
    ----------
    content : RecordDict
        What a site sent.
    spec : mapping of str to ArraySpec
        What the round asked for.
    registered : int
        Images that the site said it would sum over when it joined.

    Raises
    ------
    ContributionError
        If names, shapes, dtypes, values or the count are not what they must be.
    """
    count = config_of(content).get("count")
    if not isinstance(count, int) or isinstance(count, bool) or count != registered:
        raise ContributionError(f"count: {shown(count)}, but {registered} images were registered")
    arrays = decode_arrays(content, spec)
    check_arrays(arrays, spec, count)
    return Contribution(count, arrays)


def encode_site_info(info: SiteInfo) -> RecordDict:
    """Pack what a site tells when it joins."""
    values = {
        **asdict(info),
        "classes": list(info.classes),
        # Flower has no empty list.
        "malignant": list(info.malignant) or [""],
        "withheld": list(info.withheld) or [""],
    }
    return RecordDict({CONFIG: ConfigRecord(values)})


def decode_site_info(content: RecordDict) -> SiteInfo:
    """Unpack and check what a site tells when it joins.

    Raises
    ------
    ContributionError
        If a field is missing, unknown or out of bounds.
    """
    config = dict(config_of(content))
    if config.keys() != {field.name for field in fields(SiteInfo)}:
        raise ContributionError(f"wrong fields: {shown(sorted(config))}")
    counts = [config[name] for name in ("images", "lesions", "train", "validation", "test")]
    if not all(type(count) is int and 0 <= count < 2**53 for count in counts):
        raise ContributionError("a count is not a whole number")
    images, lesions, *parts = (int(str(count)) for count in counts)
    added = config["added"]
    if type(added) is not int or parts[0] - added < 0:
        raise ContributionError("added: not a whole number, or more than there are to learn")
    if sum(parts) - added != images or lesions > images:
        raise ContributionError("the parts of the split do not add up to the images")
    if type(config["split_seed"]) is not int:
        raise ContributionError("split_seed: not a whole number")
    classes, malignant, withheld = (
        _names(config[name]) for name in ("classes", "malignant", "withheld")
    )
    site, backbone = _names([config["site"], config["backbone"]])
    if not set(malignant) <= set(classes):
        raise ContributionError("malignant: names what is no class")
    _check_withheld(withheld, classes)
    return SiteInfo(
        site=site,
        images=images,
        lesions=lesions,
        train=parts[0],
        validation=parts[1],
        test=parts[2],
        classes=tuple(classes),
        malignant=tuple(malignant),
        backbone=backbone,
        split_seed=int(str(config["split_seed"])),
        withheld=tuple(withheld),
        added=added,
    )


def _names(values: object) -> list[str]:
    """Check a list of names; Flower has no empty list, so one empty name stands for it."""
    if not isinstance(values, list):
        raise ContributionError("a list of names is missing")
    if len(values) > _MAX_NAMES:
        raise ContributionError("a list of names is too long")
    names = [] if values == [""] else values
    if not all(isinstance(name, str) and 0 < len(name) <= MAX_NAME for name in names):
        raise ContributionError("a name is missing, not text or too long")
    if not all(name.isprintable() for name in names):
        raise ContributionError("a name holds control characters")
    return [str(name) for name in names]


def _check_withheld(withheld: list[str], classes: list[str]) -> None:
    """Refuse what is not ``part:class`` or ``part:class:fold``, or comes twice."""
    known = {f"{part.value}:{name}" for part in Split for name in classes}
    for item in withheld:
        cell, _, fold = item.rpartition(":")
        of_fold = cell in known and fold.isdecimal() and len(fold) <= _MAX_DIGITS
        if item not in known and not of_fold:
            raise ContributionError(f"withheld: {shown(item)} is no part and class")
    if len(set(withheld)) < len(withheld):
        raise ContributionError("withheld: a cell comes twice")
