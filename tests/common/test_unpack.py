"""Archives that must not be unpacked, and that nothing is left of them."""

from __future__ import annotations

import stat
import zipfile
from pathlib import Path

import pytest

from common.errors import SourceError
from common.sources.unpack import is_unpacked, unpack_images


def _zip(path: Path, members: list[tuple[zipfile.ZipInfo | str, bytes]]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for member, content in members:
            archive.writestr(member, content)
    return path


def _named(name: str) -> zipfile.ZipInfo:
    member = zipfile.ZipInfo("placeholder")
    member.filename = name  # ZipInfo's own constructor tidies names up
    return member


def _link(name: str) -> zipfile.ZipInfo:
    member = zipfile.ZipInfo(name)
    member.external_attr = (stat.S_IFLNK | 0o777) << 16
    return member


def _unpack(archive: Path, folder: Path, images: int = 1) -> list[tuple[str, int, int]]:
    told: list[tuple[str, int, int]] = []
    unpack_images(archive, folder, images, lambda *args: told.append(args))
    return told


def test_images_land_in_one_folder_without_clutter(tmp_path: Path) -> None:
    archive = _zip(
        tmp_path / "a.zip",
        [
            ("inner/b.jpg", b"bb"),
            ("a.JPG", b"a"),
            ("__MACOSX/inner/._b.jpg", b"x"),
            ("inner/.hidden.jpg", b"x"),
            ("readme.txt", b"x"),
        ],
    )
    told = _unpack(archive, tmp_path / "images", 2)
    assert sorted(path.name for path in (tmp_path / "images").iterdir()) == ["a.JPG", "b.jpg"]
    assert (tmp_path / "images" / "b.jpg").read_bytes() == b"bb"
    assert told == [("images", 2, 3), ("images", 3, 3)]


@pytest.mark.parametrize(
    "member",
    [
        _named("../evil.jpg"),
        _named("inner/../../evil.jpg"),
        _named("/evil.jpg"),
        _named("..\\evil.jpg"),
        _named("C:evil.jpg"),
        _named("../readme.txt"),
        _link("evil.jpg"),
    ],
    ids=["up", "up again", "absolute", "backslash", "drive", "not an image", "link"],
)
def test_unsafe_members_are_refused(tmp_path: Path, member: zipfile.ZipInfo) -> None:
    inner = tmp_path / "inner"
    inner.mkdir()
    archive = _zip(inner / "a.zip", [("good.jpg", b"g"), (member, b"/etc/passwd")])
    with pytest.raises(SourceError, match=r"a\.zip: member .*evil|a\.zip: member .*readme"):
        _unpack(archive, inner / "images")
    assert [path.name for path in tmp_path.rglob("*")] == ["inner", "a.zip"]


def test_two_members_of_one_name_are_refused(tmp_path: Path) -> None:
    archive = _zip(tmp_path / "a.zip", [("x/a.jpg", b"1"), ("y/a.jpg", b"2")])
    with pytest.raises(SourceError, match=r"a\.jpg is in it twice"):
        _unpack(archive, tmp_path / "images")
    assert not (tmp_path / "images").exists()


def test_damaged_and_short_archives_leave_nothing(tmp_path: Path) -> None:
    archive = _zip(tmp_path / "a.zip", [("a.jpg", b"hundred" * 30)])
    with pytest.raises(SourceError, match="1 images instead of 2"):
        _unpack(archive, tmp_path / "images", 2)
    content = bytearray(archive.read_bytes())
    content[60] ^= 1  # inside the image
    archive.write_bytes(content)
    with pytest.raises(SourceError, match=r"a\.zip: not a zip file .*CRC"):
        _unpack(archive, tmp_path / "images")
    archive.write_bytes(b"no zip")
    with pytest.raises(SourceError, match="not a zip file"):
        _unpack(archive, tmp_path / "images")
    assert list(tmp_path.iterdir()) == [archive]


def test_a_folder_that_lacks_images_is_not_overwritten(tmp_path: Path) -> None:
    folder = tmp_path / "images"
    assert not is_unpacked(folder, 1)
    folder.mkdir()
    (folder / "a.jpg").touch()
    assert is_unpacked(folder, 1)
    with pytest.raises(SourceError, match=r"images: holds 1 of 2 images; move this folder away"):
        is_unpacked(folder, 2)
