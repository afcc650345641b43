"""The store's own beacons: timelines of one beacon at a display case."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.health import HealthReport, Status, StoreBeacons
from gateway.core.sighting import Telemetry

S = 1_000_000_000
MINUTE, DAY = 60 * S, 24 * 3600 * S
MAC = "02:00:00:00:00:01"


def tlm(battery_mv: int | None) -> Telemetry:
    """Return telemetry with this battery."""
    return Telemetry(battery_mv, 21.5, 1000, 100.0)


GOOD, LOW = tlm(3000), tlm(2400)


def hear(
    beacons: StoreBeacons, now_ns: int, zone: str = "hall", rssi: int = -60, touchpoint: str = "case-1"
) -> HealthReport | None:
    """Hear the beacon by the reader of a zone."""
    return beacons.observe(touchpoint, MAC, f"ble-{zone}", zone, rssi, now_ns)


def report(
    status: Status, telemetry: Telemetry | None = None, zone: str = "hall", rssi: int | None = -60
) -> HealthReport:
    """Return a report on the beacon."""
    return HealthReport("case-1", f"ble-{zone}", zone, status, telemetry, rssi)


def reported(telemetry: Telemetry | None = None) -> StoreBeacons:
    """Return beacons that made their first reports; heard last at 10 s."""
    beacons = StoreBeacons()
    hear(beacons, 0)
    if telemetry:
        beacons.telemetry(MAC, telemetry, S)
    hear(beacons, 10 * S)
    return beacons


class TestRegularReports:
    """Rule 1."""

    def test_first_after_ten_seconds(self) -> None:
        """A beacon without telemetry is reported ten seconds after it was first heard, by time alone."""
        beacons = StoreBeacons()
        assert beacons.next_deadline() is None
        assert hear(beacons, 0) is None
        assert beacons.next_deadline() == 10 * S
        assert beacons.expire(10 * S - 1) == []
        assert beacons.expire(10 * S) == [report("ok")]
        assert beacons.expire(10 * S) == []

    def test_first_by_a_sighting(self) -> None:
        """A sighting at that time makes the report as well."""
        beacons = StoreBeacons()
        assert hear(beacons, 0) is None
        assert hear(beacons, 10 * S, rssi=-70) == report("ok", rssi=-70)
        assert beacons.expire(10 * S) == []

    def test_first_telemetry(self) -> None:
        """The first telemetry is reported at once, more of the same is not."""
        beacons = StoreBeacons()
        hear(beacons, 0)
        assert beacons.telemetry(MAC, GOOD, 2 * S) == report("ok", GOOD)
        assert beacons.telemetry(MAC, tlm(2990), 3 * S) is None
        assert hear(beacons, 10 * S) is None

    def test_late_first_telemetry(self) -> None:
        """Telemetry that comes after the first report is not kept back for a day."""
        beacons = reported()
        assert beacons.telemetry(MAC, GOOD, 60 * S) == report("ok", GOOD)

    def test_daily(self) -> None:
        """A living beacon is reported once a day, with its last telemetry and signal strength."""
        beacons = reported(GOOD)
        reports = [hear(beacons, S + minute * MINUTE, rssi=-65) for minute in range(1, 3 * 24 * 60 + 1)]
        assert [each for each in reports if each] == [report("ok", GOOD, rssi=-65)] * 3

    def test_daily_by_telemetry(self) -> None:
        """Telemetry alone keeps a beacon alive and makes the daily report."""
        beacons = reported(GOOD)
        reports = [beacons.telemetry(MAC, GOOD, S + minute * MINUTE) for minute in range(1, 24 * 60 + 1)]
        assert [each for each in reports if each] == [report("ok", GOOD)]

    @pytest.mark.parametrize("rssi", [127, -127, 0])
    def test_no_measurement(self, rssi: int) -> None:
        """A signal strength that is not available is null, not a number."""
        beacons = StoreBeacons()
        hear(beacons, 0, rssi=rssi)
        assert beacons.expire(10 * S) == [report("ok", rssi=None)]


class TestBattery:
    """Rule 2."""

    @pytest.mark.parametrize(("battery_mv", "status"), [(2500, "ok"), (2499, "low-battery"), (None, "ok")])
    def test_limit(self, battery_mv: int | None, status: Status) -> None:
        """A battery is low below 2500 mV; a beacon on mains power has none."""
        beacons = StoreBeacons()
        hear(beacons, 0)
        assert beacons.telemetry(MAC, tlm(battery_mv), S) == report(status, tlm(battery_mv))

    def test_hysteresis(self) -> None:
        """Each change is reported once; a battery that swings about the limit is no news."""
        beacons = reported(GOOD)
        swings = [2490, 2510, 2480, 2599, 2600, 2550, 2500, 2499]
        reports = [beacons.telemetry(MAC, tlm(mv), (20 + at) * S) for at, mv in enumerate(swings)]
        assert [(each.status, each.telemetry) for each in reports if each] == [
            ("low-battery", tlm(2490)),
            ("ok", tlm(2600)),
            ("low-battery", tlm(2499)),
        ]

    def test_unknown_battery_changes_nothing(self) -> None:
        """Telemetry without a voltage leaves a low battery low."""
        beacons = reported(LOW)
        assert beacons.telemetry(MAC, tlm(None), 20 * S) is None
        assert hear(beacons, 2 * DAY) == report("low-battery", tlm(None))


class TestSilence:
    """Rule 3."""

    def test_nobody_is_silent_while_a_scanner_is_down(self) -> None:
        """What nobody could hear is not silent: that counts from when all scanners are up; daily reports go on."""
        beacons = reported()
        beacons.pause()
        assert beacons.expire(20 * MINUTE) == []
        assert beacons.next_deadline() == DAY + 10 * S
        assert beacons.expire(DAY + 10 * S) == [report("ok")]
        beacons.resume(DAY + MINUTE)
        beacons.resume(DAY + 2 * MINUTE)
        assert beacons.next_deadline() == DAY + 16 * MINUTE
        assert beacons.expire(DAY + 16 * MINUTE) == [report("silent")]

    def test_silent_once_then_back(self) -> None:
        """Fifteen minutes without a word are reported once, and so is the return."""
        beacons = reported(GOOD)
        assert beacons.next_deadline() == 10 * S + 15 * MINUTE
        assert beacons.expire(10 * S + 15 * MINUTE) == [report("silent", GOOD)]
        assert beacons.next_deadline() is None
        assert beacons.expire(5 * DAY) == []
        assert hear(beacons, 5 * DAY) == report("ok", GOOD)
        assert beacons.next_deadline() == 5 * DAY + 15 * MINUTE

    def test_a_report_says_when_the_beacon_was_last_heard(self) -> None:
        """In seconds before it: just now, or a quarter of an hour ago."""
        beacons = reported(GOOD)
        (silent,) = beacons.expire(10 * S + 15 * MINUTE)
        back = hear(beacons, 5 * DAY)
        assert back is not None
        assert (silent.last_seen_s, back.last_seen_s) == (900.0, 0.0)

    def test_telemetry_breaks_the_silence(self) -> None:
        """A beacon whose telemetry is heard is not silent, though its identifier is not heard."""
        beacons = reported(GOOD)
        assert beacons.telemetry(MAC, GOOD, 14 * MINUTE) is None
        assert beacons.expire(16 * MINUTE) == []
        assert beacons.expire(29 * MINUTE) == [report("silent", GOOD)]

    def test_back_by_telemetry(self) -> None:
        """Telemetry is a sign of life."""
        beacons = reported(GOOD)
        beacons.expire(DAY)
        assert beacons.telemetry(MAC, LOW, 2 * DAY) == report("low-battery", LOW)


class TestMove:
    """Rule 4."""

    def test_moved(self) -> None:
        """A beacon carried to another zone is reported once there, a minute after its own zone last heard it."""
        beacons = reported(GOOD)
        reports = [hear(beacons, second * S, "vault") for second in range(20, 120)]
        assert reports == [None] * 50 + [report("moved", GOOD, "vault")] + [None] * 49

    def test_overlapping_zones(self) -> None:
        """A beacon that two zones hear stays in the first, whose signal strength is the one reported."""
        beacons = reported(GOOD)
        for second in range(20, 24 * 3600, 50):
            assert hear(beacons, second * S) is None
            assert hear(beacons, second * S, "vault", -90) is None
        assert hear(beacons, DAY + S, "hall", -61) == report("ok", GOOD, rssi=-61)

    def test_back_elsewhere(self) -> None:
        """Silent here and heard again there: it moved, unless its own zone hears it within a minute."""
        beacons = reported(GOOD)
        beacons.expire(DAY)
        assert hear(beacons, 2 * DAY, "vault") == report("ok", GOOD)
        assert [hear(beacons, 2 * DAY + second * S, "vault") for second in range(50, 60)] == [None] * 10
        assert hear(beacons, 2 * DAY + MINUTE, "vault") == report("moved", GOOD, "vault")
        assert beacons.expire(2 * DAY + 16 * MINUTE) == [report("silent", GOOD, "vault")]

    def test_back_behind_a_wall(self) -> None:
        """Silent, and heard again by the next zone first: its own hears it too, so it has not moved."""
        beacons = reported(GOOD)
        beacons.expire(DAY)
        assert hear(beacons, 2 * DAY, "vault", -90) == report("ok", GOOD)
        assert hear(beacons, 2 * DAY + 50 * S) is None
        assert hear(beacons, 2 * DAY + 100 * S, "vault", -90) is None

    def test_down(self) -> None:
        """While the scanner of its own zone is down a beacon moves nowhere, nor within a minute after that."""
        beacons = reported(GOOD)
        beacons.pause()
        assert [hear(beacons, second * S, "vault", -90) for second in range(20, 620)] == [None] * 600
        beacons.resume(620 * S)
        assert [hear(beacons, second * S, "vault", -90) for second in range(660, 680)] == [None] * 20
        assert hear(beacons, 680 * S, "vault") == report("moved", GOOD, "vault")

    def test_faded(self) -> None:
        """One packet that its own zone hears weakly does not make a new beacon another zone's."""
        beacons = StoreBeacons()
        assert hear(beacons, 0) is None
        assert hear(beacons, 10 * S) == report("ok")
        assert hear(beacons, 58 * S, rssi=-94) is None
        assert hear(beacons, 59 * S, "vault", -90) is None
        assert [hear(beacons, at * S) for at in range(60, 180)] == [None] * 120

    def test_slow(self) -> None:
        """A beacon that sends every ten seconds is missed by its own zone six times in a row, and has not moved."""
        beacons = reported(GOOD)
        for minute in range(1, 60):
            assert hear(beacons, minute * MINUTE) is None
            assert [hear(beacons, minute * MINUTE + at * S, "vault", -90) for at in range(10, 60, 10)] == [None] * 5
        beacons = reported(GOOD)
        reports = [hear(beacons, at * S, "vault", -90) for at in range(20, 120, 10)]
        assert reports == [None] * 9 + [report("moved", GOOD, "vault", -90)]

    @pytest.mark.parametrize("rssi", [-90, 127, -127, 0])
    def test_heard_first_behind_a_wall(self, rssi: int) -> None:
        """The zone of a new beacon is the one that hears it best, whichever hears it first; it has not moved there."""
        beacons = StoreBeacons()
        assert hear(beacons, 0, "vault", rssi) is None
        assert hear(beacons, 8 * S, "hall", -60) is None
        assert hear(beacons, 9 * S, "vault", rssi) is None
        assert hear(beacons, 10 * S, "vault", rssi) == report("ok")
        for second in range(50, 600, 50):
            assert hear(beacons, second * S, "hall", -60) is None
            assert hear(beacons, second * S, "vault", -90) is None


class TestAddresses:
    """Telemetry belongs to the identifier that the same address sent last."""

    def test_stranger(self) -> None:
        """Telemetry of an address that named no touchpoint is nobody's, and no other beacon's either."""
        beacons = reported()
        assert not beacons.knows("02:00:00:00:00:02")
        assert beacons.telemetry("02:00:00:00:00:02", LOW, 11 * S) is None
        assert hear(beacons, DAY + 10 * S) == report("ok")

    def test_last_identifier(self) -> None:
        """A beacon given a new identity gives its telemetry to that one."""
        beacons = reported(GOOD)
        hear(beacons, 11 * S, touchpoint="case-2")
        found = beacons.telemetry(MAC, LOW, 12 * S)
        assert found is not None
        assert found.touchpoint_id == "case-2"

    def test_bounded(self) -> None:
        """256 addresses are remembered, the latest ones: a beacon that changes its address fills no memory."""
        beacons = StoreBeacons()
        for number in (*range(256), 0, 256):
            beacons.observe("case-1", f"mac-{number}", "ble", "hall", -60, 0)
        assert [n for n in range(257) if not beacons.knows(f"mac-{n}")] == [1]

    def test_repr_hides_addresses(self) -> None:
        """No MAC address shows in the state."""
        assert MAC not in repr(reported(GOOD))


steps = st.tuples(
    st.sampled_from(["hear", "telemetry", "expire"]),
    st.sampled_from(["hall", "vault"]),
    st.none() | st.integers(2300, 2700),
    st.integers(0, 20 * MINUTE),
)


@settings(max_examples=200)
@given(st.lists(steps, max_size=80))
def test_any_timeline(played: list[tuple[str, str, int | None, int]]) -> None:
    """Silence is reported once until a sign of life, and no deadline is overdue after `expire`."""
    beacons, now, silent = StoreBeacons(), 0, False
    for action, zone, battery_mv, wait in played:
        now += wait
        if action == "expire":
            said = [each.status for each in beacons.expire(now)]
            assert not (silent and said)
            silent = silent or "silent" in said
            deadline = beacons.next_deadline()
            assert deadline is None or deadline > now
            continue
        found = hear(beacons, now, zone) if action == "hear" else beacons.telemetry(MAC, tlm(battery_mv), now)
        assert found is not None or not silent
        assert found is None or found.status != "silent"
        silent = False


class TestConditions:
    """How each beacon is, to whoever asks."""

    def test_asking_makes_no_report(self) -> None:
        """The state as it is: well, low, or silent since it was reported so; what is due stays due."""
        beacons = StoreBeacons()
        assert beacons.conditions(0) == {}
        hear(beacons, 0)
        assert beacons.conditions(5 * S) == {"case-1": report("ok")}
        assert beacons.conditions(5 * S)["case-1"].last_seen_s == 5.0
        beacons.telemetry(MAC, LOW, 6 * S)
        assert beacons.conditions(7 * S) == {"case-1": report("low-battery", LOW)}
        assert beacons.expire(20 * MINUTE) == [report("silent", LOW)]
        assert beacons.conditions(21 * MINUTE) == {"case-1": report("silent", LOW)}
        assert hear(beacons, 22 * MINUTE) == report("low-battery", LOW)

    def test_a_forgotten_beacon_falls_not_silent(self) -> None:
        """Nothing is known of it any more, nor of what its address tells; others stay."""
        beacons = StoreBeacons()
        hear(beacons, 0)
        beacons.observe("case-2", "02:00:00:00:00:02", "ble-hall", "hall", -60, 0)
        beacons.forget("case-1")
        beacons.forget("never-heard")
        assert set(beacons.conditions(S)) == {"case-2"}
        assert not beacons.knows(MAC)
        assert beacons.knows("02:00:00:00:00:02")
        assert {each.touchpoint_id for each in beacons.expire(20 * MINUTE)} == {"case-2"}

    def test_by_which_readers_they_are_heard(self) -> None:
        """Each beacon's last one in its zone."""
        beacons = StoreBeacons()
        assert beacons.readers() == set()
        hear(beacons, 0)
        beacons.observe("case-2", "02:00:00:00:00:02", "ble-salon", "salon", -60, 0)
        assert beacons.readers() == {"ble-hall", "ble-salon"}

    def test_since_when_all_listen(self) -> None:
        """Not while a scanner is down; anew from when it is back."""
        beacons = StoreBeacons()
        since = [beacons.listening_ns]
        beacons.pause()
        since.append(beacons.listening_ns)
        beacons.resume(5 * S)
        since.append(beacons.listening_ns)
        assert since == [0, None, 5 * S]
