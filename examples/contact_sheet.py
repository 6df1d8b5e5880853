"""Make a web page of a folder of finished pictures, from its `manifest.csv`.

    python contact_sheet.py pictures --variant thumb > pictures/index.html

The folder is the output folder of `imagemill run`, or a batch's folder of `imagemill up`.
"""

import argparse
import csv
import sys
from collections.abc import Iterator
from html import escape
from pathlib import Path
from urllib.parse import quote

PAGE = "<!doctype html><meta charset=utf-8><title>{title}</title>\n<style>img {{ height: 10em; margin: 2px }}</style>\n"


def parts(folder: Path, variant: str) -> Iterator[str]:
    yield PAGE.format(title=escape(folder.name))
    failed: list[dict[str, str]] = []
    with (folder / "manifest.csv").open(encoding="utf-8", newline="") as text:
        rows = csv.DictReader(text)
        if variant not in (rows.fieldnames or ()):
            sys.exit(f"The manifest has no column {variant!r}; see the recipe for the names of its variants.")
        for row in rows:
            if row["state"] == "SUCCEEDED":
                yield f'<img src="{quote(row[variant])}" title="{escape(row["source"])}" loading=lazy>\n'
            elif row["state"] == "FAILED":
                failed.append(row)
    yield "<ul>\n"
    for row in failed:
        yield f"<li>{escape(row['source'])}: {escape(row['error_message'])}</li>\n"
    yield "</ul>\n"


def main() -> None:
    parser = argparse.ArgumentParser(description="Make a web page of a folder of finished pictures.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--variant", required=True)
    options = parser.parse_args()
    sys.stdout.writelines(parts(options.folder, options.variant))


main()
