"""AltBeacon: a frame of one length and one beginning."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.decode import altbeacon
from gateway.core.decode.beacon import Beacon
from gateway.core.sighting import Identifier
from tests.simulators import frames


@given(beacon_id=st.binary(min_size=20, max_size=20), power=st.integers(-128, 127), reserved=st.integers(0, 255))
def test_every_altbeacon_is_read(beacon_id: bytes, power: int, reserved: int) -> None:
    """The twenty bytes are the identity; the manufacturer's byte is not."""
    expected = Beacon(Identifier("altbeacon", beacon_id.hex()), power, power)
    assert altbeacon.decode(frames.altbeacon(beacon_id, power, reserved)) == expected


@given(st.binary(max_size=40))
def test_anything_else_is_none(data: bytes) -> None:
    """Other bytes, whatever they are, are no AltBeacon."""
    is_one = data[:2] == b"\xbe\xac" and len(data) == 24
    assert (altbeacon.decode(data) is not None) == is_one


@pytest.mark.parametrize("frame", [frames.altbeacon(bytes(20), -59)[:-1], frames.altbeacon(bytes(20), -59) + b"\0"])
def test_a_frame_of_another_length_is_none(frame: bytes) -> None:
    """A byte too few or too many, and it is no AltBeacon."""
    assert altbeacon.decode(frame) is None
