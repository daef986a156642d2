"""One entry of a study's list: a federation, the models beside it, and what came of them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from common.errors import RunFolderError
from common.whole_file import whole_file

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Learner of the models that look at no image.
BASELINE = "baseline"
_ABOUT = "about"


@dataclass(frozen=True)
class Fit:
    """A federation and the models that are compared with it, on the same test images.

    Attributes
    ----------
    learner : str
        A learner with its settings, as ``"logistic pca=128"``, or `BASELINE`.
    models : tuple of str
        Keys of `simulations.studies.models.MODELS`.
    condition : str
        What the study varies, in words.
    split_seed : int
        Seed of the split by lesion.
    trains : tuple of str
        Sites of the partition whose training images are learned from; all if empty.
    tests : tuple of str
        Sites whose test images are predicted; all if empty.
    partition : str
        As `common.partition.make_partition`.
    seed : int
        Seed of the partition, and of which images a limit takes.
    images_per_site : int
        Most training images of a site, as whole lesions; 0 for all.
    looks : bool
        Whether each site's images look as if taken at another acquisition site.
    training : str
        ``"key=value key=value"`` of `common.finetuning.settings.TrainingSettings`, where the
        learner is a strategy of fine-tuning.
    backbone : str
        Whose features it sees; the lab's own if empty.
    turn : int
        Of the split, for cross-validation: results of the same seed are put together.
    class_weight : str
        ``balanced`` or ``none`` for the learner, as far as it has such a setting and its text
        says nothing of it; empty for its own.
    imbalance : str
        `common.imbalance.Treatment.text` of what each site does before it sums.
    views : int
        Augmented views of each training image that the heads learn from, beside the image.
    metadata : str
        `common.metadata.Fusion.text` of what stands beside the image features.
    """

    learner: str
    models: tuple[str, ...]
    condition: str
    split_seed: int
    trains: tuple[str, ...] = ()
    tests: tuple[str, ...] = ()
    partition: str = "site"
    seed: int = 0
    images_per_site: int = 0
    looks: bool = False
    training: str = ""
    imbalance: str = ""
    backbone: str = ""
    turn: int = 0
    class_weight: str = ""
    views: int = 0
    metadata: str = ""

    def key(self, about: str) -> str:
        """Give a name for the file of its result; `about` is whatever else changes the result."""
        text = json.dumps([asdict(self), about], sort_keys=True)
        return blake2b(text.encode(), digest_size=12).hexdigest()


@dataclass(frozen=True)
class FitResult:
    """What came of a fit.

    Attributes
    ----------
    rows : ndarray of intp, shape (n,)
        The test images, as positions in the lab's cohort.
    client : ndarray of str, shape (n,)
        Site of the partition.
    probabilities : mapping of str to ndarray of float64, shape (n, k)
        By model.
    predicted : mapping of str to ndarray of intp, shape (n,)
        By model.
    about : mapping
        ``costs`` by model (``federations``, ``rounds``, ``bytes_up``, ``bytes_down``,
        ``seconds``), ``differ`` (predictions in which federated and pooled differ, or None),
        ``auc_error`` (of the federation's AUCs from sums against the exact ones, or None) and
        ``validation`` (balanced accuracy on validation images, of the models that it chose).
    """

    rows: NDArray[np.intp]
    client: NDArray[np.str_]
    probabilities: Mapping[str, NDArray[np.float64]]
    predicted: Mapping[str, NDArray[np.intp]]
    about: Mapping[str, Any]

    def save(self, path: Path) -> None:
        """Write to a file, whole or not at all."""
        names, client = np.unique(self.client, return_inverse=True)
        arrays = {"rows": self.rows.astype(np.int64), "client": client.astype(np.int64)}
        for model, values in self.probabilities.items():
            arrays[f"p:{model}"] = np.ascontiguousarray(values)
            arrays[f"y:{model}"] = self.predicted[model].astype(np.int64)
        text = json.dumps({**self.about, "clients": names.tolist()})
        with whole_file(path) as partial:
            save_file(arrays, partial, metadata={_ABOUT: text})


def load_result(path: Path) -> FitResult:
    """Read a file of `FitResult.save`.

    Raises
    ------
    RunFolderError
        If it is damaged.
    """
    try:
        with safe_open(path, framework="numpy") as stream:
            about = json.loads(stream.metadata()[_ABOUT])
            arrays = {name: stream.get_tensor(name) for name in stream.keys()}  # noqa: SIM118
        clients = np.array(about.pop("clients"), dtype=np.str_)
        return FitResult(
            rows=arrays["rows"].astype(np.intp),
            client=clients[arrays["client"]],
            probabilities={n[2:]: a for n, a in arrays.items() if n.startswith("p:")},
            predicted={n[2:]: a.astype(np.intp) for n, a in arrays.items() if n.startswith("y:")},
            about=about,
        )
    except (SafetensorError, OSError, LookupError, TypeError, ValueError) as error:
        raise RunFolderError(f"{path}: damaged ({error}); delete it, it is made again") from error
