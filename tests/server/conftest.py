"""A federation in one process: real client apps behind a grid that can delay, lose and forge."""

from __future__ import annotations

import copy
import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from flwr.app import Context, Message, RecordDict
from flwr.common.constant import SUPERLINK_NODE_ID
from flwr.serverapp import Grid
from flwr.supercore.run import Run
from flwr.supercore.task_identity import TaskIdentity

import common.backbones.registry
import server.collect
import server.link
from client.app import make_app, trainer_of_node
from client.site import Site
from client.training.pixels import Pixels
from common.backbones import Backbone
from common.disclosure import EXACT, Disclosure
from common.metrics import seed_key
from common.settings import RunSettings
from common.split import Split, fold_groups
from common.transform import Transform
from server.link import RoundPolicy
from server.sum_strategy import SumStrategy

if TYPE_CHECKING:
    from numpy.typing import NDArray

CLASSES = ("bcc", "mel", "nv")
MALIGNANT = ("bcc", "mel")
TINY = Backbone(
    name="tiny",
    dimension=8,
    weights_sha256="0" * 64,
    licence="CC0-1.0",
    module="none",
    transform=Transform(size=8, mean=0.5, std=0.5),
)

# From a message and its right reply to the replies that arrive.
Tamper = Callable[[Message, Message], list[Message]]
NEVER = float("inf")


def _untouched(_asked: Message, right: Message) -> list[Message]:
    return [right]


class Clock:
    """Stands in for the module `time`, so that no test waits."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


class FakeGrid(Grid):
    """Nodes in this process.

    `delay` holds the seconds after which a node's replies arrive, `tamper` what becomes of them,
    `unsendable` the nodes that cannot be reached.
    """

    def __init__(self, clock: Clock, answers: Mapping[int, Callable[[Message], Message]]) -> None:
        self.clock = clock
        self.answers = dict(answers)
        self.delay: dict[int, float] = {}
        self.tamper: dict[int, Tamper] = {}
        self.unsendable: dict[int, list[str]] = {}
        self.asked: list[Message] = []
        self._arriving: list[tuple[float, Message]] = []
        self._numbers = itertools.count()

    def set_run(self, run: Run) -> None:
        raise NotImplementedError

    @property
    def run(self) -> Run:
        raise NotImplementedError

    def create_message(
        self,
        content: RecordDict,
        message_type: str,
        dst_node_id: int,
        group_id: str,
        ttl: float | None = None,
    ) -> Message:
        raise NotImplementedError

    def send_and_receive(
        self, messages: Iterable[Message], *, timeout: float | None = None
    ) -> Iterable[Message]:
        raise NotImplementedError

    def get_node_ids(self) -> Iterable[int]:
        return list(self.answers)

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        ids = []
        for message in messages:
            node = message.metadata.dst_node_id
            if node in self.unsendable:
                return self.unsendable[node]
            self.asked.append(message)
            message.metadata.__dict__["_message_id"] = f"message {next(self._numbers)}"
            due = self.clock.now + self.delay.get(node, 0.0)
            if due < NEVER:
                reply = self.answers[node](message)
                tamper = self.tamper.get(node, _untouched)
                self._arriving += [(due, arriving) for arriving in tamper(message, reply)]
            ids.append(message.metadata.message_id)
        return ids

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """Give what has arrived, the latest first, asked for or not."""
        arrived = [(due, reply) for due, reply in self._arriving if due <= self.clock.now]
        self._arriving = [(due, reply) for due, reply in self._arriving if due > self.clock.now]
        return [reply for _, reply in sorted(arrived, key=lambda item: -item[0])]

    def kinds_asked(self, node: int) -> list[str]:
        """Tell what a node was asked, in order."""
        sent = (message.metadata for message in self.asked)
        return [metadata.message_type for metadata in sent if metadata.dst_node_id == node]


class Hospitals:
    """Sites by node id; node ids are not in the order of names."""

    def __init__(self, clock: Clock, sites: Mapping[int, Site]) -> None:
        self.clock = clock
        self.sites = dict(sites)

    def replace(self, node: int, **changes: Any) -> None:
        """Change a site before the federation begins."""
        self.sites[node] = replace(self.sites[node], **changes)

    def guard(self, minimum: int) -> dict[str, list[str]]:
        """Put all sites under a policy; gives what each withholds, counted one by one.

        Where images have folds, a cell of the training images is a class's fold.
        """
        withheld = {}
        for node, site in self.sites.items():
            cells = []
            for row, part in enumerate(site.split):
                by_fold = "" if site.fold is None or part != "train" else f":{site.fold[row]}"
                cells.append(f"{part}:{site.classes[site.y[row]]}{by_fold}")
            count = Counter(cells)
            kept = np.array([count[cell] >= minimum for cell in cells])
            self.replace(node, kept=kept, disclosure=Disclosure(minimum), lesions=int(kept.sum()))
            withheld[site.name] = sorted(cell for cell, n in count.items() if n < minimum)
        return withheld

    def deal(self, folds: int) -> None:
        """Give every image, a lesion of its own, a fold."""
        for node, site in self.sites.items():
            lesions = [f"{site.name}-{row}" for row in range(len(site.y))]
            self.replace(node, fold=fold_groups(site.split_seed, lesions, folds))

    def node(self, name: str) -> int:
        return next(node for node, site in self.sites.items() if site.name == name)

    def grid(self, **settings: Any) -> FakeGrid:
        """Make a grid whose nodes answer with the real ClientApp."""
        run_config = RunSettings(backbone="tiny", **settings).run_config()

        def answer(node: int) -> Callable[[Message], Message]:
            def of_node(message: Message) -> Message:
                context = Context(
                    run_id=1,
                    node_id=node,
                    node_config={},
                    state=RecordDict(),
                    run_config=dict(run_config),
                )
                # As over a wire: what the coordinator does to its message cannot reach the site.
                return app(copy.deepcopy(message), context)

            return of_node

        app = make_app(lambda context: self.sites[context.node_id], trainer_of_node)
        return FakeGrid(self.clock, {node: answer(node) for node in self.sites})

    def pooled(
        self, part: Split, without: Iterable[str] = ()
    ) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
        """Pool what no coordinator may: features and labels of one part, in the names' order."""
        sites = sorted(self.sites.values(), key=lambda site: site.name)
        data = [site.part(part) for site in sites if site.name not in set(without)]
        x = np.concatenate([site.x for site in data]).astype(np.float64)
        return x, np.concatenate([site.y for site in data])


def make_site(name: str, images: int, seed: int, classes: int = len(CLASSES)) -> Site:
    """Draw a site's features around one centre a class, shifted as a site's camera would."""
    rng = np.random.default_rng(seed)
    y = rng.integers(classes, size=images)
    centres = np.random.default_rng(0).normal(size=(len(CLASSES), TINY.dimension))
    x = centres[y] + rng.normal(scale=1.5, size=(images, TINY.dimension)) + rng.normal()
    split = rng.choice([part.value for part in Split], p=[0.7, 0.1, 0.2], size=images)
    return Site(
        name=name,
        classes=CLASSES,
        malignant=MALIGNANT,
        backbone=TINY,
        split_seed=1,
        rows=np.arange(images, dtype=np.intp),
        x=x.astype(np.float32),
        y=y.astype(np.intp),
        group=np.array([f"{name}-{row}" for row in range(images)]),
        split=split.astype("<U10"),
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
    """Give messages the identity that Flower keeps outside of a grid."""
    for name, value in {"run_id": 1, "node_id": SUPERLINK_NODE_ID, "task_id": 1}.items():
        monkeypatch.setattr(TaskIdentity, f"_{name}", value)


@pytest.fixture(autouse=True)
def _tiny_backbone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(common.backbones.registry, "_BACKBONES", (TINY,))


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(server.collect, "time", clock)
    monkeypatch.setattr(server.link, "time", clock)
    return clock


@pytest.fixture
def hospitals(clock: Clock) -> Hospitals:
    """Four hospitals of unlike size and brightness; the smallest has no melanoma to show."""
    sites = {
        7: make_site("dias", 60, seed=1),
        3: make_site("modern", 90, seed=2),
        9: make_site("molemax", 140, seed=3),
        5: make_site("rosendahl", 40, seed=4, classes=2),
    }
    return Hospitals(clock, sites)


@pytest.fixture
def reports() -> list[str]:
    return []


@pytest.fixture
def strategy_of(reports: list[str]) -> Callable[..., SumStrategy]:
    """Make the strategy over a grid; keywords are those of `RoundPolicy`."""

    def make(grid: Grid, **policy: Any) -> SumStrategy:
        return SumStrategy(grid, RoundPolicy(**policy), reports.append)

    return make


@pytest.fixture
def grid_of(clock: Clock) -> Callable[[Mapping[int, Callable[[Message], Message]]], FakeGrid]:
    """Make a grid over nodes that answer with any function."""

    def make(answers: Mapping[int, Callable[[Message], Message]]) -> FakeGrid:
        return FakeGrid(clock, answers)

    return make
