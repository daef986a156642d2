"""A backbone whose images are changed before it sees them; progress over several of its kind."""

from __future__ import annotations

import dataclasses
from dataclasses import replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from common.backbones import Backbone
    from common.features import Progress
    from common.transform import Transform


def with_transform(backbone: Backbone, kind: type[Transform], **more: Any) -> Backbone:  # noqa: ANN401
    """Give the backbone with a transform that does more to its pixels.

    Parameters
    ----------
    backbone : Backbone
        Whose own transform is done first.
    kind : type
        Of the transform.
    **more : Any
        What it has beside the fields of the backbone's own.
    """
    plain = backbone.transform
    fields = {field.name: getattr(plain, field.name) for field in dataclasses.fields(plain)}
    return replace(backbone, transform=kind(**fields, **more))


def counted_from(before: int, total: int, progress: Progress) -> Progress:
    """Give the progress of a part of the work, `before` of the `total` being done."""
    return lambda done, _: progress(before + done, total)
