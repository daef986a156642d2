"""A site of drawn features, a small cohort on disk whose features are cached, and questions."""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from flwr.app import Context, Message, RecordDict
from flwr.common.constant import SUPERLINK_NODE_ID
from flwr.supercore.task_identity import TaskIdentity

import common.backbones.registry
from client.app import make_app, trainer_of_node
from client.site import Site
from client.training.pixels import Pixels
from common.backbones import Backbone
from common.disclosure import EXACT
from common.feature_cache import FeatureCache, image_key
from common.metrics import seed_key
from common.split import Split
from common.transform import Transform
from tests.client.site_commands import SiteCommands

if TYPE_CHECKING:
    from flwr.app.user_config import UserConfigValue
    from flwr.clientapp import ClientApp

CLASSES = ("akiec", "bcc", "bkl", "df", "mel", "nv", "vasc")
TINY = Backbone(
    name="tiny",
    dimension=8,
    weights_sha256="0" * 64,
    licence="CC0-1.0",
    module="none",
    transform=Transform(size=8, mean=0.5, std=0.5),
)
SITES = {"rosendahl": 12, "dias": 9, "molemax": 20}


class Asker:
    """Asks a ClientApp as a coordinator would."""

    def __init__(self, app: ClientApp) -> None:
        self.app = app
        self.run_config: dict[str, UserConfigValue] = {"backbone": "tiny"}
        self.node_config: dict[str, UserConfigValue] = {}
        self.state = RecordDict()

    def context(self) -> Context:
        return Context(
            run_id=1,
            node_id=4,
            node_config=self.node_config,
            state=self.state,
            run_config=self.run_config,
        )

    def __call__(self, kind: str, content: RecordDict | None = None) -> Message:
        message = Message(RecordDict() if content is None else content, 4, kind)
        message.metadata.__dict__["_message_id"] = "question"
        return self.app(message, self.context())


def make_site(images: int, *, seed: int = 0, part: Split | None = None) -> Site:
    """Draw a site; all its images in one part of the split, if one is given."""
    rng = np.random.default_rng(seed)
    split = rng.choice([part.value for part in Split], size=images)
    return Site(
        name="dias",
        classes=CLASSES,
        malignant=("akiec", "bcc", "mel"),
        backbone=TINY,
        split_seed=1,
        rows=np.arange(images, dtype=np.intp),
        x=rng.normal(size=(images, TINY.dimension)).astype(np.float32),
        y=rng.integers(len(CLASSES), size=images).astype(np.intp),
        group=np.array([f"HAM_{row:07d}" for row in range(images)]),
        split=(split if part is None else np.full(images, part.value)).astype("<U10"),
        fold=None,
        kept=np.ones(images, dtype=np.bool_),
        disclosure=EXACT,
        resample_key=seed_key(0),
        lesions=images,
        unreadable=(),
        pixels=Pixels((), TINY.transform),
    )


@pytest.fixture(autouse=True)
def _task_identity(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give messages the identity that Flower keeps outside of an app."""
    for name, value in {"run_id": 1, "node_id": SUPERLINK_NODE_ID, "task_id": 1}.items():
        monkeypatch.setattr(TaskIdentity, f"_{name}", value)


@pytest.fixture(autouse=True)
def _tiny_backbone(monkeypatch: pytest.MonkeyPatch) -> None:
    known = common.backbones.registry._BACKBONES
    monkeypatch.setattr(common.backbones.registry, "_BACKBONES", (*known, TINY))


@pytest.fixture
def clinic(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> SiteCommands:
    """Commands on the folder of a site that is still to be made."""
    return SiteCommands(tmp_path / "clinic", monkeypatch, capsys)


@pytest.fixture
def site_of() -> Callable[..., Site]:
    return make_site


@pytest.fixture
def asker_of() -> Callable[..., Asker]:
    """Make the asker of a site, of a way to open one, or of a whole app."""

    def make(site: Site | Callable[[Context], Site] | ClientApp) -> Asker:
        if isinstance(site, Site):
            return Asker(make_app(lambda _context: site, trainer_of_node))
        return Asker(site)  # type: ignore[arg-type]

    return make


@pytest.fixture
def write_cached_cohort(tmp_path: Path) -> Callable[..., Path]:
    """Write a cohort in HAM10000's layout; its images are not images, but their features known."""

    def write(
        sites: Mapping[str, int] = SITES,
        *,
        backbone: Backbone = TINY,
        name: str = "cohort",
        seed: int = 5,
    ) -> Path:
        root = tmp_path / name
        (root / "images").mkdir(parents=True)
        rng = np.random.default_rng(seed)
        features = {}
        with (root / "HAM10000_metadata.csv").open("w", encoding="utf-8", newline="") as stream:
            writer = csv.writer(stream)
            header = ("lesion_id", "image_id", "dx", "dx_type", "age", "sex", "localization")
            writer.writerow([*header, "dataset"])
            for site, images in sites.items():
                for number in range(images):
                    image = f"{site}-{number}"
                    label = CLASSES[int(rng.integers(len(CLASSES)))]
                    writer.writerow([f"L-{image}", image, label, "histo", 50, "", "", site])
                    data = f"{name} {image}".encode()
                    (root / "images" / f"{image}.jpg").write_bytes(data)
                    x = rng.normal(size=backbone.dimension).astype(np.float32)
                    features[image_key(data)] = x
        FeatureCache(root / "cache", backbone).write(features)
        return root

    return write
