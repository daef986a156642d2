"""Near-duplicates: images of one lesion that the table gives two lesions.

Candidates are pairs of different lesions with near perceptual hashes of the whole image: any two
images at most a third of the 256 bits apart, images of the same age, sex, localisation and site
somewhat farther, and copies that were flipped or turned only when very near. The hash alone
cannot decide, since it sees a dark spot on skin in front of a vignette: `client.audit.texture`
compares each candidate's fine structure.

Both thresholds come from HAM10000 (10,015 images, looked at pair by pair). Of 221,000 pairs of
different lesions with near hashes or the same metadata, none that shows two lesions reaches 0.39.
Copies that were encoded again (JPEG at 40 to 90), scaled by 0.5 to 1.5, dimmed, blurred, sharpened
or all of it reach 0.74 in 95 of 100 cases. From 0.44 to 0.6 there were two pairs, both of them
another photograph of the same lesion. So 0.6 and more is taken for certain, and fails the audit
where it straddles the split; 0.44 to 0.6 asks for a pair of eyes. Photographs from another angle
or at another magnification reach neither, so none found does not mean none there.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from client.audit.assignment import Assignment
from client.audit.candidates import CANDIDATES_AT_MOST, Candidates, find_candidates
from client.audit.finding import Finding, Severity, plural
from client.audit.pictures import ORIENTATIONS, UPRIGHT, Pictures, turn
from client.audit.texture import likeness, texture
from common.cohort import Cohort
from common.features import Progress, cores, no_progress

if TYPE_CHECKING:
    from numpy.typing import NDArray

CERTAIN, LIKELY = 0.6, 0.44


def check_near_duplicates(
    cohort: Cohort, pictures: Pictures, split: Assignment, *, progress: Progress = no_progress
) -> list[Finding]:
    """Find images of different lesions that show the same skin.

    Parameters
    ----------
    cohort : Cohort
        Whose images.
    pictures : Pictures
        What they showed, with hashes and thumbnails.
    split : Assignment
        The split under audit.
    progress : callable
        Called with (pairs compared, pairs in all).
    """
    found = find_candidates(cohort, pictures)
    score = compare(pictures, found, progress)
    findings = _report(cohort, split, found, score)
    if not findings:
        message = f"none among {plural(len(score), 'pair')} of different lesions with near hashes"
        findings.append(Finding("near-duplicates", Severity.INFO, message, 0))
    if found.dropped:
        message = (
            f"{plural(found.dropped, 'pair')} with near hashes not compared: more than "
            f"{CANDIDATES_AT_MOST:,} candidates, the nearest were taken"
        )
        findings.append(Finding("near-duplicates", Severity.WARNING, message, found.dropped))
    return findings


def compare(
    pictures: Pictures, pairs: Candidates, progress: Progress = no_progress
) -> NDArray[np.float32]:
    """Compare the texture of candidates.

    Returns
    -------
    ndarray of float32, shape (p,)
        Likeness of each pair, -1 to 1.

    Raises
    ------
    ValueError
        If the pictures were opened without thumbnails.
    """
    if pictures.thumb is None:
        raise ValueError("the pictures were opened without their thumbnails")
    thumb = pictures.thumb
    needed = np.unique(np.concatenate([pairs.a, pairs.b]))
    place = np.zeros(len(thumb), dtype=np.intp)
    place[needed] = np.arange(len(needed))
    score = np.zeros(len(pairs.a), dtype=np.float32)
    with ThreadPoolExecutor(cores()) as workers:
        blocks = [needed[start : start + 64] for start in range(0, len(needed), 64)]
        textures = list(workers.map(lambda rows: texture(thumb[rows]), blocks))
        known = np.concatenate(textures) if textures else np.zeros((0, 0, 0), dtype=np.float16)

        def work(span: slice) -> int:
            a, turned = int(pairs.a[span.start]), int(pairs.turned[span.start])
            one = known[place[a]] if not turned else _turned(thumb[a], ORIENTATIONS[turned])
            score[span] = likeness(one, known[place[pairs.b[span]]])
            return int(span.stop)

        for done in workers.map(work, _spans(pairs)):
            progress(done, len(score))
    return score


def _turned(thumb: NDArray[np.uint8], orientation: str) -> NDArray[np.float16]:
    from PIL import Image

    image = np.asarray(turn(Image.fromarray(thumb), orientation))
    found: NDArray[np.float16] = texture(image[None])[0]
    return found


def _spans(pairs: Candidates) -> list[slice]:
    """Cut the pairs into runs of one first image in one orientation, of at most 64 pairs."""
    changes = (np.diff(pairs.a) != 0) | (np.diff(pairs.turned) != 0)
    edges = [0, *(np.flatnonzero(changes) + 1).tolist(), len(pairs.a)]
    return [
        slice(start, min(start + 64, stop))
        for first, stop in pairwise(edges)
        for start in range(first, stop, 64)
    ]


def _report(
    cohort: Cohort, split: Assignment, pairs: Candidates, score: NDArray[np.float32]
) -> list[Finding]:
    examples: dict[tuple[bool, bool], list[str]] = {}
    seen = set()
    for k in np.argsort(-score, kind="stable").tolist():
        a, b, turned = int(pairs.a[k]), int(pairs.b[k]), int(pairs.turned[k])
        certain = bool(score[k] >= CERTAIN)
        # A turned copy is a copy; what merely looks like one is a round lesion.
        if score[k] < LIKELY or (turned and not certain) or (a, b) in seen:
            continue
        seen.add((a, b))
        parts = " and ".join(dict.fromkeys(str(split.part[row]) or "unnamed" for row in (a, b)))
        how = f" {ORIENTATIONS[turned].lower()}" if ORIENTATIONS[turned] != UPRIGHT else ""
        text = f"{cohort.image_id[a]} {cohort.image_id[b]} ({score[k]:.2f}{how}, {parts})"
        examples.setdefault((certain, split.straddles(a, b)), []).append(text)
    return [
        Finding(
            "near-duplicates",
            severity,
            f"{plural(len(found), 'pair')} {what}",
            len(found),
            tuple(found),
        )
        for key, (severity, what) in _KINDS.items()
        if (found := examples.get(key))
    ]


_JOIN = "list them in duplicate_pairs.csv (image_a, image_b)"
_KINDS = {
    (True, True): (
        Severity.LEAK,
        f"of near-identical images under two lesions, on two sides of the split; {_JOIN}",
    ),
    (True, False): (
        Severity.WARNING,
        f"of near-identical images under two lesions, in one part of this split; {_JOIN}",
    ),
    (False, True): (
        Severity.WARNING,
        f"of alike images under two lesions, on two sides of the split; if one lesion, {_JOIN}",
    ),
    (False, False): (
        Severity.WARNING,
        f"of alike images under two lesions, in one part of this split; if one lesion, {_JOIN}",
    ),
}
