"""What a dataset must hold to be fetched as HAM10000; no network."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from common.errors import SourceError
from common.sources.dataverse import Dataverse, PublishedFile
from common.sources.fetch import HAM10000_SOURCE, LICENCE, ImageArchive, Source, fetch_ham10000

HEADER = "lesion_id,image_id,dx,dx_type,age,sex,localization"
TABLE = f"{HEADER}\nHAM_0,ISIC_0,nv,histo,40.0,male,back\nHAM_1,ISIC_1,mel,histo,,female,face\n"
NO_IMAGES = Source("10.1/TEST", 2, ())


class Offer:
    """A dataset whose files hold `content`."""

    def __init__(self, *names: str, content: bytes = b"", checksum: str | None = None) -> None:
        self.content, self.asked = content, 0
        self.files = [PublishedFile(n, n, f"https://x/{n}", None, checksum) for n in names]

    def list_files(self, _session: Dataverse, _doi: str) -> list[PublishedFile]:
        return self.files

    def download(self, _s: Dataverse, _f: PublishedFile, target: Path, _p: object) -> None:
        assert not target.exists()
        self.asked += 1
        target.write_bytes(self.content)


Fetch = Callable[[Offer, Source], None]


@pytest.fixture
def fetch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fetch:
    def run(offer: Offer, source: Source) -> None:
        monkeypatch.setattr(Dataverse, "list_files", lambda *args: offer.list_files(*args))
        monkeypatch.setattr("common.sources.fetch.download", offer.download)
        fetch_ham10000(tmp_path, accept_licence=True, progress=lambda *_: None, source=source)

    return run


@pytest.mark.parametrize(
    ("table", "problem"),
    [
        (TABLE.replace(",", "\t").encode(), "column lesion_id is missing"),
        (TABLE.replace(",dx,", ",diagnosis,").encode(), "column dx is missing"),
        (f"{HEADER}\n".encode(), "0 rows, not 2"),
        (b"", "column lesion_id is missing"),
        (b"\xff", "no CSV file in UTF-8"),
        (f'{HEADER}\n"a"b'.encode(), "no CSV file in UTF-8"),
    ],
)
def test_what_is_no_table_is_refused(
    tmp_path: Path, fetch: Fetch, table: bytes, problem: str
) -> None:
    path = tmp_path / "HAM10000_metadata.csv"
    with pytest.raises(SourceError, match=rf"https://x/HAM10000_metadata: .*{problem}"):
        fetch(Offer("HAM10000_metadata", content=table), NO_IMAGES)
    assert not [file for file in tmp_path.rglob("*") if file.is_file()]
    path.write_bytes(table)
    with pytest.raises(SourceError, match=rf"metadata\.csv: .*{problem}.*; move it away"):
        fetch(Offer("HAM10000_metadata", content=TABLE.encode()), NO_IMAGES)
    assert path.read_bytes() == table


@pytest.mark.parametrize(
    "name", ["HAM10000_metadata", "HAM10000_metadata.tab", "ham10000-metadata.CSV"]
)
def test_names_may_differ_in_endings_and_separators(
    tmp_path: Path, fetch: Fetch, name: str
) -> None:
    masks = ImageArchive("HAM10000_segmentations", 1, optional=True)  # older versions have none
    fetch(Offer("readme.txt", name, content=TABLE.encode()), Source("10.1/TEST", 2, (masks,)))
    assert (tmp_path / "HAM10000_metadata.csv").read_text() == TABLE
    images = Source("10.1/TEST", 2, (ImageArchive("HAM10000_images_part_1", 2),))
    with pytest.raises(SourceError, match=r"HAM10000_images_part1\.zip: no checksum"):
        fetch(Offer("HAM10000_images_part1.zip"), images)  # so the dataset's description has it


def test_a_table_left_unverified_is_downloaded_anew(tmp_path: Path, fetch: Fetch) -> None:
    left = tmp_path / "dermafed_download" / "HAM10000_metadata.csv"
    left.parent.mkdir()
    left.write_text(HEADER)
    offer = Offer("HAM10000_metadata.csv", content=f"\ufeff{TABLE}".encode())
    fetch(offer, NO_IMAGES)
    fetch(offer, NO_IMAGES)
    assert offer.asked == 1
    assert [path.name for path in tmp_path.iterdir()] == ["HAM10000_metadata.csv"]


def test_what_the_dataset_lacks_is_named_before_any_download(tmp_path: Path, fetch: Fetch) -> None:
    source = Source("10.1/TEST", 2, (ImageArchive("HAM10000_images_part_1", 2),))
    offer = Offer("HAM10000_metadata.tab", "notes.txt", content=TABLE.encode())
    with pytest.raises(SourceError, match=r"no file HAM10000_images_part_1; it has: .*notes\.txt"):
        fetch(offer, source)
    offer = Offer("HAM10000_metadata.tab", "HAM10000_images_part_1.zip", content=TABLE.encode())
    with pytest.raises(SourceError, match="no checksum is published for HAM10000_images_part_1"):
        fetch(offer, source)
    assert list(tmp_path.iterdir()) == []


def test_the_official_source_adds_up() -> None:
    images = sum(archive.images for archive in HAM10000_SOURCE.archives if not archive.optional)
    assert images == HAM10000_SOURCE.rows == 10_015
    assert "creativecommons.org/licenses/by-nc/4.0" in LICENCE
    assert "Scientific Data 5, 180161" in LICENCE


def test_a_file_in_the_folders_place_is_told(tmp_path: Path, fetch: Fetch) -> None:
    (tmp_path / "dermafed_download").touch()
    with pytest.raises(SourceError, match="dermafed_download: File exists"):
        fetch(Offer("HAM10000_metadata.csv"), NO_IMAGES)
