"""What the finished pictures are called in the folder that their owner looks into."""

from __future__ import annotations

from imagemill.domain.sources import stem_of

_EXTENSIONS = {"jpeg": "jpg", "tiff": "tif"}
UNDECODABLE = "undecodable"
"""The folder of what could not be decoded, in that folder."""


def picture_name(index: int, source: str, variant: str, format_: str) -> str:
    """Name the render of a succeeded item: `000012-red-boat-thumbnail.jpg`.

    Index and variant make it unique in a batch, whatever the sources are called. It sorts in input order up to
    a million items. It keeps the letters of any script and holds nothing that a shell or a file system, Windows'
    included, treats specially; in UTF-8 it has at most 170 bytes.
    """
    return f"{index:06d}-{stem_of(source)}-{variant}.{_EXTENSIONS.get(format_, format_)}"


def undecodable_name(index: int, source: str, format_: str) -> str:
    """Name what was put aside, relative to the folder of the pictures: `undecodable/000012-red-boat.heic`.

    The extension says what the bytes are, as far as is known; never what the source's name claims.
    """
    return f"{UNDECODABLE}/{index:06d}-{stem_of(source)}.{_EXTENSIONS.get(format_, format_) or 'bin'}"
