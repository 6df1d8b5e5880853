"""Pictures in the output folder: linked, copied where that is impossible, and never at the cost of a user's file."""

from __future__ import annotations

import errno
import os
import time
from pathlib import Path

import pytest

from imagemill.cli.exits import CommandError, ExitCode
from imagemill.cli.pictures import PictureFolder
from imagemill.v1.batch_pb2 import Item, Original, Render

NAME = "000007-red-boat-small.jpg"


@pytest.fixture
def state(tmp_path: Path) -> Path:
    (tmp_path / ".imagemill").mkdir()
    (tmp_path / ".imagemill" / "key").write_bytes(b"picture")
    return tmp_path / ".imagemill"


@pytest.fixture
def item() -> Item:
    return Item(
        index=7,
        source="https://example.com/a/red%20boat.png?x=1",
        state=Item.STATE_SUCCEEDED,
        original=Original(sha256="ab"),
        renders=[Render(variant="small", key="key", format="jpeg")],
    )


def folder(state: Path, since: float | None = None) -> PictureFolder:
    begun = time.time() - 60 if since is None else since
    return PictureFolder(state.parent, state / "placing.tmp", lambda key: state / key, begun, "Begin anew.")


def test_a_succeeded_item_is_linked_under_a_readable_name(state: Path, item: Item) -> None:
    folder(state).place([item])

    assert (state.parent / NAME).samefile(state / "key")


def test_placing_again_changes_nothing(state: Path, item: Item) -> None:
    folder(state).place([item])
    folder(state).place([item])

    assert (state.parent / NAME).read_bytes() == b"picture"
    assert os.listdir(state) == ["key"]


def test_items_that_did_not_succeed_have_no_picture(state: Path, item: Item) -> None:
    item.state = Item.STATE_PROCESSING

    folder(state).place([item])

    assert os.listdir(state.parent) == [".imagemill"]


@pytest.mark.parametrize("number", [errno.EXDEV, errno.EPERM, errno.EOPNOTSUPP, errno.EMLINK])
def test_where_links_are_impossible_a_copy_is_made(
    state: Path, item: Item, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refuse(source: str, target: str) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "link", refuse)

    folder(state).place([item])

    assert (state.parent / NAME).read_bytes() == b"picture"
    assert not (state.parent / NAME).samefile(state / "key")
    assert os.listdir(state) == ["key"]


def test_a_left_over_file_older_than_the_batch_is_replaced(state: Path, item: Item) -> None:
    (state.parent / NAME).write_bytes(b"of another recipe")
    os.utime(state.parent / NAME, (1, 1))

    folder(state).place([item])

    assert (state.parent / NAME).samefile(state / "key")


def test_a_picture_that_was_changed_since_is_kept(state: Path, item: Item) -> None:
    (state.parent / NAME).write_bytes(b"retouched")

    folder(state).place([item])

    assert (state.parent / NAME).read_bytes() == b"retouched"


def test_a_symbolic_link_in_the_way_is_replaced_and_not_followed(state: Path, item: Item, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_bytes(b"precious")
    (state.parent / NAME).symlink_to(elsewhere)

    folder(state).place([item])

    assert not (state.parent / NAME).is_symlink()
    assert elsewhere.read_bytes() == b"precious"


def test_a_folder_in_the_way_is_an_error_that_names_it(state: Path, item: Item) -> None:
    (state.parent / NAME).mkdir()

    with pytest.raises(CommandError, match=f"{NAME} can't be put into the output folder") as caught:
        folder(state).place([item])

    assert caught.value.code is ExitCode.BROKEN


def test_a_stored_picture_that_is_gone_is_an_error_that_says_what_to_do(state: Path, item: Item) -> None:
    (state / "key").unlink()

    with pytest.raises(CommandError, match=r"red-boat-small\.jpg is gone, .* Begin anew"):
        folder(state).place([item])
