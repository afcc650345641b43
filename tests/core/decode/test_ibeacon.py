"""iBeacon: a frame of one length and one beginning."""

from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from gateway.core.decode import ibeacon
from gateway.core.decode.beacon import Beacon
from gateway.core.sighting import Identifier
from tests.simulators import frames

words = st.integers(0, 0xFFFF)
powers = st.integers(-128, 127)


@given(uuid=st.uuids(), major=words, minor=words, power=powers)
def test_every_ibeacon_is_read(uuid: UUID, major: int, minor: int, power: int) -> None:
    """UUID, major and minor are the identity; the power is what is heard at one metre."""
    frame = frames.ibeacon(uuid.bytes, major, minor, power)
    assert ibeacon.decode(frame) == Beacon(Identifier("ibeacon", f"{uuid}/{major}/{minor}"), power, power)


@given(st.binary(max_size=40))
def test_anything_else_is_none(data: bytes) -> None:
    """Other bytes, whatever they are, are no iBeacon."""
    is_one = data[:2] == b"\x02\x15" and len(data) == 23
    assert (ibeacon.decode(data) is not None) == is_one


@given(cut=st.integers(0, 22))
def test_a_torn_frame_is_none(cut: int) -> None:
    """A frame cut short anywhere, or with a byte too many, is refused."""
    frame = frames.ibeacon(bytes(16), 1, 2, -59)
    assert ibeacon.decode(frame[:cut]) is None
    assert ibeacon.decode(frame + b"\0") is None
