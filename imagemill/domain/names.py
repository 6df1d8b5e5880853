"""What the finished pictures are called in the folder that their owner looks into."""

from __future__ import annotations

from imagemill.domain.sources import stem_of

_EXTENSIONS = {"jpeg": "jpg"}


def picture_name(index: int, source: str, variant: str, format_: str) -> str:
    """Name the render of a succeeded item: `000012-red-boat-thumbnail.jpg`.

    Index and variant make it unique in a batch, whatever the sources are called. It sorts in input order up to
    a million items. It keeps the letters of any script and holds nothing that a shell or a file system, Windows'
    included, treats specially; in UTF-8 it has at most 170 bytes.
    """
    return f"{index:06d}-{stem_of(source)}-{variant}.{_EXTENSIONS.get(format_, format_)}"
