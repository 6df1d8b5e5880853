from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from processor_svc.frames import FrameReader, frame


@given(st.lists(st.binary(max_size=200), max_size=10), st.integers(1, 50))
def test_frames_come_out_as_they_went_in_however_the_stream_is_cut(bodies: list[bytes], step: int) -> None:
    stream = b"".join(frame(body) for body in bodies)
    reader = FrameReader()

    found = [body for at in range(0, len(stream), step) for body in reader.feed(stream[at : at + step])]

    assert found == bodies
