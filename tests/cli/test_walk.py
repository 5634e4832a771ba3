"""Which files a command is about."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gristmill.base.errors import SettingsError
from gristmill.cli.walk import Found, Skipped, check, walk


def seen(*paths: Path, home: Path = Path("/nowhere")) -> tuple[list[str], dict[str, str]]:
    """Names that are found, and names that are skipped with the reason."""
    every = list(walk(paths, home=home))
    skipped = {one.path.name: one.reason for one in every if isinstance(one, Skipped)}
    return [one.name for one in every if isinstance(one, Found)], skipped


def make(folder: Path, *names: str) -> Path:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    return folder


def test_files_come_in_order_with_their_names_below_the_folder(tmp_path: Path) -> None:
    assert seen(make(tmp_path, "b.md", "a/z.md", "a/b/c.md", "c.md")) == (["a/b/c.md", "a/z.md", "b.md", "c.md"], {})


def test_hidden_entries_are_skipped_unless_they_are_named(tmp_path: Path) -> None:
    folder = make(tmp_path, "a.md", ".b.md", ".git/config")
    assert seen(folder) == (["a.md"], {".b.md": "hidden", ".git": "hidden"})
    assert seen(folder / ".b.md")[0] == [".b.md"]


def test_symlinks_that_leave_the_folder_are_skipped(tmp_path: Path) -> None:
    outside = make(tmp_path / "outside", "secret.md")
    folder = make(tmp_path / "folder", "a.md", "sub/b.md")
    (folder / "file.md").symlink_to(outside / "secret.md")
    (folder / "tree").symlink_to(outside)
    (folder / "climbs").symlink_to("../outside/secret.md")
    (folder / "gone.md").symlink_to("nowhere")
    (folder / "ring.md").symlink_to("ring.md")
    (folder / "up").symlink_to("..")
    found, skipped = seen(folder)
    assert found == ["a.md", "sub/b.md"]
    assert skipped == dict.fromkeys(
        ["climbs", "file.md", "gone.md", "ring.md", "tree", "up"], "a symlink that leaves the folder"
    )


def test_symlinks_that_stay_are_no_second_document(tmp_path: Path) -> None:
    folder = make(tmp_path, "a.md", "sub/b.md")
    (folder / "twin.md").symlink_to("a.md")
    (folder / "tree").symlink_to("sub")
    found, skipped = seen(folder)
    assert found == ["a.md", "sub/b.md"]
    assert skipped == {"twin.md": f"the same file as {folder}/a.md", "tree": "a symlink to a folder"}


def test_hard_links_are_documents_of_their_own(tmp_path: Path) -> None:
    folder = make(tmp_path, "a.md")
    os.link(folder / "a.md", folder / "b.md")
    assert seen(folder) == (["a.md", "b.md"], {})


def test_what_is_named_twice_is_taken_once(tmp_path: Path) -> None:
    folder = make(tmp_path / "folder", "a.md", ".b", "c/d.md")
    link = tmp_path / "link"
    link.symlink_to(folder)
    found, skipped = seen(folder / "a.md", folder, folder, folder / "c" / ".." / "a.md", link)
    assert found == ["a.md", "c/d.md"]
    assert skipped == {".b": "hidden"}


def test_a_path_with_detours_is_the_same_document(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = make(tmp_path / "folder", "a.md")
    monkeypatch.chdir(folder)
    [straight] = walk([folder / "a.md"], home=Path("/nowhere"))
    for detour in (Path("a.md"), Path("../folder/a.md"), Path("."), Path("../folder")):
        [one] = walk([detour], home=Path("/nowhere"))
        assert one.path == straight.path


def test_what_is_no_file_is_skipped(tmp_path: Path) -> None:
    folder = make(tmp_path, "a.md")
    os.mkfifo(folder / "pipe")
    assert seen(folder) == (["a.md"], {"pipe": "no ordinary file"})
    assert seen(folder / "pipe") == ([], {"pipe": "no ordinary file"})


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_what_may_not_be_read_is_skipped(tmp_path: Path) -> None:
    folder = make(tmp_path, "a.md", "sub/b.md", "c.md")
    (folder / "a.md").chmod(0)
    (folder / "sub").chmod(0)
    found, skipped = seen(folder)
    (folder / "sub").chmod(0o700)
    assert found == ["c.md"]
    assert skipped["a.md"].startswith("cannot be read")
    assert skipped["sub"].startswith("the folder cannot be read")


def test_our_own_home_inside_the_folder_is_skipped(tmp_path: Path) -> None:
    folder = make(tmp_path, "a.md", "store/blobs/b.md")
    assert seen(folder, home=folder / "store") == (["a.md"], {"store": "the home of gristmill"})


def test_names_that_are_no_text_are_shown_as_text(tmp_path: Path) -> None:
    Path(os.fsdecode(bytes(tmp_path) + b"/caf\xe9.md")).write_text("x")
    [one] = walk([tmp_path], home=Path("/nowhere"))
    assert isinstance(one, Found)
    assert one.name == "caf\\xe9.md"


def test_a_path_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"gone\.md: there is no such file or folder"):
        check([tmp_path, tmp_path / "gone.md"])
