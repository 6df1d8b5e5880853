"""The manifest: one row per item, safe to open, whole or not there."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from imagemill.cli.manifest import FIXED_COLUMNS, ManifestWriter, safe_cell
from imagemill.v1.batch_pb2 import Failure, Item, Original, Render, Timings


def written(tmp_path: Path, items: list[Item], variants: list[str]) -> list[dict[str, str]]:
    with ManifestWriter(tmp_path / "manifest.csv", tmp_path / "tmp", variants) as manifest:
        manifest.write(items)
    with (tmp_path / "manifest.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def succeeded() -> Item:
    return Item(
        index=3,
        source="https://example.com/boat.png",
        state=Item.STATE_SUCCEEDED,
        attempts=2,
        original=Original(
            sha256="ab",
            size_bytes=99,
            format="png",
            width=40,
            height=30,
            http_status=200,
            tries=3,
            warnings=["animated: first frame used", "no end"],
        ),
        renders=[
            Render(variant="b", key="k", format="webp"),
            Render(variant="a", key="k", format="jpeg"),
        ],
        duplicate_of=0,
        timings=Timings(download_ms=1.26, decode_ms=2, resize_ms=3, encode_ms=4, store_ms=5),
    )


def test_the_header_is_the_documented_one(tmp_path: Path) -> None:
    written(tmp_path, [], ["thumbnail"])

    assert (tmp_path / "manifest.csv").read_text() == (
        "index,source,state,error_code,error_message,http_status,attempts,tries,sha256,bytes,format,width,height,"
        "duplicate_of,download_ms,decode_ms,resize_ms,encode_ms,store_ms,warnings,undecodable,thumbnail\n"
    )


def test_a_succeeded_item_has_its_facts_and_pictures(tmp_path: Path) -> None:
    (row,) = written(tmp_path, [succeeded()], ["a", "b"])

    assert row == {
        "index": "3",
        "source": "https://example.com/boat.png",
        "state": "SUCCEEDED",
        "error_code": "",
        "error_message": "",
        "http_status": "200",
        "attempts": "2",
        "tries": "3",
        "sha256": "ab",
        "bytes": "99",
        "format": "png",
        "width": "40",
        "height": "30",
        "duplicate_of": "0",
        "download_ms": "1.3",
        "decode_ms": "2.0",
        "resize_ms": "3.0",
        "encode_ms": "4.0",
        "store_ms": "5.0",
        "warnings": "animated: first frame used; no end",
        "undecodable": "",
        "a": "000003-boat-a.jpg",
        "b": "000003-boat-b.webp",
    }


def test_a_failed_item_has_its_failure_and_empty_cells(tmp_path: Path) -> None:
    failure = Failure(code="SOURCE_NOT_FOUND", message="It is gone.", http_status=404)

    (row,) = written(tmp_path, [Item(index=0, source="u", state=Item.STATE_FAILED, attempts=1, failure=failure)], ["a"])

    assert (row["error_code"], row["error_message"], row["http_status"]) == ("SOURCE_NOT_FOUND", "It is gone.", "404")
    assert [row[name] for name in ("sha256", "bytes", "duplicate_of", "download_ms", "warnings", "a")] == [""] * 6


def test_a_variant_that_is_called_like_a_column_gets_a_column_of_its_own(tmp_path: Path) -> None:
    item = succeeded()
    item.renders[0].variant = "format"

    (row,) = written(tmp_path, [item], ["format"])

    assert (row["format"], row["format_picture"]) == ("png", "000003-boat-format.webp")


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r"])
def test_no_foreign_text_is_taken_for_a_formula(start: str) -> None:
    assert safe_cell(f"{start}1+1").startswith("'")


def test_what_a_caller_says_of_a_skipped_item_is_foreign_text(tmp_path: Path) -> None:
    told = Failure(code="SKIPPED", message='=HYPERLINK("http://a.test")\x1b')

    (row,) = written(tmp_path, [Item(source="u", state=Item.STATE_SKIPPED, failure=told)], [])

    assert row["error_message"] == '\'=HYPERLINK("http://a.test")\N{REPLACEMENT CHARACTER}'


def test_control_characters_are_shown_as_such(tmp_path: Path) -> None:
    (row,) = written(tmp_path, [Item(source='a\nb\x1b,"c"', state=Item.STATE_FAILED)], [])

    assert row["source"] == 'a\N{REPLACEMENT CHARACTER}b\N{REPLACEMENT CHARACTER},"c"'


def test_a_manifest_that_was_not_finished_leaves_the_old_one(tmp_path: Path) -> None:
    (tmp_path / "manifest.csv").write_text("old")

    with pytest.raises(RuntimeError), ManifestWriter(tmp_path / "manifest.csv", tmp_path / "tmp", []):
        raise RuntimeError

    assert (tmp_path / "manifest.csv").read_text() == "old"
    assert not (tmp_path / "tmp").exists()


def test_no_fixed_column_is_named_twice() -> None:
    assert len(set(FIXED_COLUMNS)) == len(FIXED_COLUMNS)
