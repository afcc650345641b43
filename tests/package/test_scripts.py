"""What the package does when it is installed, upgraded, downgraded, removed and purged, in a root of its own.

dpkg and systemd are played: dpkg by calling the maintainer scripts in the order of Debian Policy, section 6.6, and
doing to the files what it does in between; systemd by a script that notes what it is asked, and starts only versions
that work. `make package-test` does the same with the real ones.
"""

import os
import shutil
import sqlite3
import subprocess
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import pytest

DEBIAN = Path(__file__).parents[2] / "systemd" / "debian"
OLD, NEW = "0.1.0-1", "0.2.0-1"
HALVES = ("touchpoint-uplink.service", "touchpoint-capture.service")
SYSTEMCTL = """#!/bin/sh
echo "$*" >> "$DPKG_ROOT/asked"
version=$(readlink "$DPKG_ROOT/opt/touchpoint/current")
case "$*" in *.target) exit 0 ;; esac
case "$1" in
  is-active) [ -e "$DPKG_ROOT/running/$2" ] && echo active || { echo inactive; exit 3; } ;;
  stop) shift; for unit; do rm -f "$DPKG_ROOT/running/$unit"; done ;;
  start)
    "$DPKG_ROOT/opt/touchpoint/$version/bin/touchpoint" "$2" || exit 1
    echo "$version" > "$DPKG_ROOT/running/$2" ;;
esac
"""
QUIET = "#!/bin/sh\n"
FAILS_IF_BROKEN = '#!/bin/sh\n[ ! -e "$DPKG_ROOT/broken" ]\n'


@dataclass
class Machine:
    """A root directory with a version installed, and what its halves have written."""

    root: Path
    asked: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        for name in ("run/systemd/system", "running", "etc/systemd/system", "etc/touchpoint", "opt/touchpoint", "bin"):
            (self.root / name).mkdir(parents=True)
        for state in ("touchpoint", "touchpoint-capture"):
            (self.root / "var/lib" / state).mkdir(parents=True)
        self.program("systemctl", SYSTEMCTL)
        names = "systemd-sysusers systemd-tmpfiles deb-systemd-helper udevadm userdel groupdel"
        for name in names.split():
            self.program(name, QUIET)

    def program(self, name: str, text: str) -> None:
        """Put a program in front of the machine's own."""
        path = self.root / "bin" / name
        path.write_text(text, encoding="utf-8")
        path.chmod(0o755)

    def unpack(self, version: str, starts: str = "exit 0") -> None:
        """Lay out a version, whose halves do this when they are started."""
        environment = self.root / "opt/touchpoint" / version
        (environment / "bin").mkdir(parents=True)
        (environment / "units").mkdir()
        (environment / "bin/touchpoint").write_text(f"#!/bin/sh\n{starts}\n", encoding="utf-8")
        (environment / "bin/touchpoint").chmod(0o755)
        for half in HALVES:
            (environment / "units" / half).write_text(f"# of {version}\n", encoding="utf-8")

    def script(self, name: str, version: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a maintainer script of a version."""
        text = (DEBIAN / f"touchpoint-gateway.{name}").read_text(encoding="utf-8")
        functions = (DEBIAN / "functions.sh").read_text(encoding="utf-8")
        text = text.replace("#FUNCTIONS#", functions).replace("@VERSION@", version)
        path = self.root / f"{name}-{version}"
        path.write_text(text, encoding="utf-8")
        path.chmod(0o755)
        return self.run(path, *arguments)

    def run(self, path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a script as dpkg or systemd does."""
        environment = {**os.environ, "DPKG_ROOT": str(self.root), "PATH": f"{self.root}/bin:{os.environ['PATH']}"}
        return subprocess.run(
            ["/bin/sh", path, *arguments], env=environment, capture_output=True, text=True, check=False
        )

    def install(self, *, configured: bool = True) -> None:
        """Install the old version, and let it run."""
        if configured:
            (self.root / "etc/touchpoint/gateway.toml").touch()
        assert self.script("preinst", OLD, "install").returncode == 0
        self.unpack(OLD)
        assert self.script("postinst", OLD, "configure", "").returncode == 0
        for half in HALVES if configured else ():
            (self.root / "running" / half).write_text(OLD, encoding="utf-8")

    def upgrade(self, starts: str) -> subprocess.CompletedProcess[str]:
        """Do what dpkg does to upgrade; return how postinst ends."""
        assert self.script("preinst", NEW, "upgrade", OLD).returncode == 0
        self.unpack(NEW, starts)
        shutil.rmtree(self.root / "opt/touchpoint" / OLD)
        return self.script("postinst", NEW, "configure", OLD)

    @property
    def current(self) -> str:
        """Which version is the current one."""
        return (self.root / "opt/touchpoint/current").readlink().name

    def runs(self) -> set[str]:
        """Return the versions that run."""
        return {path.read_text(encoding="utf-8").strip() for path in (self.root / "running").iterdir()}

    def kept(self) -> bool:
        """Tell whether anything is still kept for going back."""
        return (self.root / "var/lib/touchpoint-kept").exists()

    def write(self, file: str, schema: int, text: str) -> None:
        """Write a database of a schema, with a text in it."""
        with closing(sqlite3.connect(self.root / "var/lib/touchpoint" / file)) as connection:
            connection.execute(f"PRAGMA user_version = {schema}")
            connection.execute("CREATE TABLE IF NOT EXISTS said (text)")
            connection.execute("INSERT INTO said VALUES (?)", (text,))
            connection.commit()

    def read(self, file: str) -> list[str]:
        """Return the texts of a database."""
        with closing(sqlite3.connect(self.root / "var/lib/touchpoint" / file)) as connection:
            return [str(row[0]) for row in connection.execute("SELECT text FROM said")]


def changes(database: Path, *statements: str) -> str:
    """Return a command that does this to a database."""
    lines = [f'connection.execute("{statement}")' for statement in statements]
    return "\n".join(
        ["python3 -c 'import sqlite3", f'connection = sqlite3.connect("{database}")', *lines, "connection.commit()'"]
    )


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_the_first_install_says_what_to_do_next(machine: Machine) -> None:
    """Without a configuration nothing is started; the way to one is told."""
    assert machine.script("preinst", OLD, "install").returncode == 0
    machine.unpack(OLD)
    ended = machine.script("postinst", OLD, "configure", "")
    assert (ended.returncode, machine.current, machine.runs()) == (0, OLD, set())
    assert "touchpoint setup" in ended.stderr


def test_an_upgrade_keeps_the_data_and_leaves_nothing_of_the_old_version(machine: Machine) -> None:
    """Both halves run the new version, the uplink was started first, and what was kept meanwhile is gone."""
    machine.install()
    machine.write("capture.db", 4, "accepted")
    ended = machine.upgrade("exit 0")
    assert ended.returncode == 0, ended.stderr
    assert (machine.current, machine.runs()) == (NEW, {NEW})
    assert machine.read("capture.db") == ["accepted"]
    assert sorted(path.name for path in (machine.root / "opt/touchpoint").iterdir()) == [NEW, "current"]
    assert not machine.kept()
    starts = [line for line in (machine.root / "asked").read_text().splitlines() if line.startswith("start touch")]
    assert starts[-2:] == [f"start {half}" for half in HALVES]


def test_an_upgrade_that_does_not_get_ready_goes_back_by_itself(machine: Machine) -> None:
    """The old version runs again, with its units and with the databases that the new one has changed."""
    machine.install()
    machine.write("capture.db", 4, "accepted")
    machine.write("uplink.db", 3, "sent")
    migrate = changes(machine.root / "var/lib/touchpoint/capture.db", "PRAGMA user_version = 5", "DELETE FROM said")
    machine.write("uplink.db", 3, "sent since")
    ended = machine.upgrade(f'case "$1" in *capture*) {migrate}; exit 1 ;; esac')
    assert ended.returncode == 1
    assert f"{OLD} runs again" in ended.stderr
    assert (machine.current, machine.runs()) == (OLD, {OLD})
    assert machine.read("capture.db") == ["accepted"]
    assert machine.read("uplink.db") == ["sent", "sent since"]
    units = machine.root / "etc/systemd/system"
    assert (units / "touchpoint-capture.service").read_text(encoding="utf-8").endswith(f"# of {OLD}\n")
    assert not machine.kept()


def test_a_second_upgrade_that_fails_goes_back_to_what_worked(machine: Machine) -> None:
    """dpkg calls the first failure the installed version; what runs is the one before, and stays it."""
    machine.install()
    assert machine.upgrade("exit 1").returncode == 1
    newer = "0.3.0-1"
    assert machine.script("preinst", newer, "upgrade", NEW).returncode == 0
    machine.unpack(newer, "exit 1")
    shutil.rmtree(machine.root / "opt/touchpoint" / NEW)
    ended = machine.script("postinst", newer, "configure", OLD)
    assert ended.returncode == 1
    assert f"{OLD} runs again" in ended.stderr
    assert (machine.current, machine.runs(), machine.kept()) == (OLD, {OLD}, False)


def test_a_version_is_not_blamed_for_what_keeps_the_one_before_from_starting_too(machine: Machine) -> None:
    """Once that is mended, what the message says tries it again."""
    machine.install()
    (machine.root / "opt/touchpoint" / OLD / "bin/touchpoint").write_text(FAILS_IF_BROKEN, encoding="utf-8")
    (machine.root / "broken").touch()
    ended = machine.upgrade(FAILS_IF_BROKEN)
    assert ended.returncode == 1
    assert "Once that is mended: dpkg --configure touchpoint-gateway" in ended.stderr
    (machine.root / "broken").unlink()
    assert machine.script("postinst", NEW, "configure", OLD).returncode == 0
    assert machine.current == NEW


def test_the_version_that_runs_can_be_installed_over_one_that_failed(machine: Machine) -> None:
    """It is no downgrade, though dpkg knows a newer one."""
    machine.install()
    assert machine.upgrade("exit 1").returncode == 1
    assert machine.script("preinst", OLD, "upgrade", NEW).returncode == 0


@pytest.mark.parametrize("switched", [False, True])
def test_a_power_cut_within_an_upgrade_is_put_right_at_the_next_boot(machine: Machine, switched: bool) -> None:  # noqa: FBT001
    """Whether the new version was only unpacked, or was being tried: the one before is there, with its data."""
    machine.install()
    machine.write("capture.db", 4, "accepted")
    assert machine.script("preinst", NEW, "upgrade", OLD).returncode == 0
    machine.unpack(NEW)
    shutil.rmtree(machine.root / "opt/touchpoint" / OLD)
    if switched:
        (machine.root / "opt/touchpoint/current").unlink()
        (machine.root / "opt/touchpoint/current").symlink_to(NEW)
        machine.write("capture.db", 5, "changed")
    recovered = machine.run(machine.root / "var/lib/touchpoint-kept/recover", "recover")
    assert recovered.returncode == 0, recovered.stderr
    assert machine.current == OLD
    assert (machine.root / "opt/touchpoint/current/bin/touchpoint").exists()
    assert machine.read("capture.db") == ["accepted"]
    assert not machine.kept()
    assert machine.script("postinst", NEW, "configure", OLD).returncode == 0
    assert machine.current == NEW


def test_what_the_new_version_wrote_stays_if_the_old_one_can_read_it(machine: Machine) -> None:
    """A database whose schema is the same is not given back: it may hold more by now."""
    machine.install()
    machine.write("uplink.db", 3, "sent")
    more = changes(machine.root / "var/lib/touchpoint/uplink.db", "INSERT INTO said VALUES (31)")
    ended = machine.upgrade(f'case "$1" in *uplink*) {more} ;; *) exit 1 ;; esac')
    assert ended.returncode == 1
    assert machine.read("uplink.db") == ["sent", "31"]


def test_a_version_that_failed_is_not_tried_again_whenever_apt_is_called(machine: Machine) -> None:
    """What runs goes on, without a stop; what to do is said."""
    machine.install()
    assert machine.upgrade("exit 1").returncode == 1
    asked = (machine.root / "asked").read_text(encoding="utf-8")
    ended = machine.script("postinst", NEW, "configure", OLD)
    assert ended.returncode == 1
    assert f"{OLD} runs: nothing was tried" in ended.stderr
    assert (machine.current, machine.runs(), machine.kept()) == (OLD, {OLD}, False)
    assert (machine.root / "asked").read_text(encoding="utf-8") == asked


@pytest.mark.parametrize("how", ["as it is said", "installed again"])
def test_a_version_that_failed_is_tried_again_when_somebody_wants_it(machine: Machine, how: str) -> None:
    """It ends as the first try should have; the units that stood in for it are gone after that."""
    machine.install()
    assert f"rm {machine.root}/opt/touchpoint/refused; dpkg --configure" in machine.upgrade("exit 1").stderr
    if how == "installed again":
        assert machine.script("preinst", NEW, "upgrade", NEW).returncode == 0
    else:
        (machine.root / "opt/touchpoint/refused").unlink()
    (machine.root / "opt/touchpoint" / NEW / "bin/touchpoint").write_text("#!/bin/sh\n", encoding="utf-8")
    ended = machine.script("postinst", NEW, "configure", OLD)
    assert ended.returncode == 0, ended.stderr
    assert (machine.current, machine.runs()) == (NEW, {NEW})
    assert list((machine.root / "etc/systemd/system").iterdir()) == []
    assert sorted(path.name for path in (machine.root / "opt/touchpoint").iterdir()) == [NEW, "current"]


def test_halves_that_somebody_has_stopped_stay_stopped(machine: Machine) -> None:
    """An upgrade starts what ran before, and nothing else."""
    machine.install()
    for half in HALVES:
        (machine.root / "running" / half).unlink()
    assert machine.upgrade("exit 1").returncode == 0
    assert (machine.current, machine.runs()) == (NEW, set())


def test_a_downgrade_is_refused_with_nothing_changed(machine: Machine) -> None:
    """Databases are only ever brought up to date; the message says so before anything is stopped."""
    machine.install()
    ended = machine.script("preinst", "0.0.9-1", "upgrade", OLD)
    assert ended.returncode == 1
    assert "an older gateway cannot read what a newer one has written" in ended.stderr
    assert (machine.current, machine.runs(), machine.kept()) == (OLD, {OLD}, False)


def test_without_room_to_keep_the_old_version_nothing_is_changed(machine: Machine) -> None:
    """The upgrade ends before it has begun, and the halves go on."""
    machine.install()
    machine.write("capture.db", 4, "accepted")
    machine.program("cp", "#!/bin/sh\necho 'cp: No space left on device' >&2\nexit 1\n")
    ended = machine.script("preinst", NEW, "upgrade", OLD)
    assert ended.returncode == 1
    assert "free some space" in ended.stderr
    assert (machine.current, machine.runs(), machine.kept()) == (OLD, {OLD}, False)


def test_an_upgrade_that_dpkg_gives_up_leaves_the_old_version_running(machine: Machine) -> None:
    """As when the disk fills up while the new version is unpacked (Debian Policy, 6.6, `abort-upgrade`)."""
    machine.install()
    assert machine.script("preinst", NEW, "upgrade", OLD).returncode == 0
    assert machine.runs() == set()
    assert machine.script("postinst", OLD, "abort-upgrade", NEW).returncode == 0
    assert (machine.current, machine.runs(), machine.kept()) == (OLD, {OLD}, False)


def test_remove_leaves_the_data_and_purge_nothing(machine: Machine) -> None:
    """After remove the same package goes on where it was; after purge no file of it is left."""
    machine.install()
    machine.write("capture.db", 4, "accepted")
    for each in ("etc/touchpoint/keys.json", "etc/credstore.encrypted/touchpoint.keys", "run/touchpoint/control.sock"):
        (machine.root / each).parent.mkdir(parents=True, exist_ok=True)
        (machine.root / each).touch()
    for name in ("touchpoint-uplink.service.d", "touchpoint.target.wants"):
        (machine.root / "etc/systemd/system" / name).mkdir()
    assert machine.script("prerm", OLD, "remove").returncode == 0
    shutil.rmtree(machine.root / "opt/touchpoint" / OLD)
    assert machine.script("postrm", OLD, "remove").returncode == 0
    assert machine.runs() == set()
    assert machine.read("capture.db") == ["accepted"]
    assert machine.script("postrm", OLD, "purge").returncode == 0
    left = [str(path.relative_to(machine.root)) for path in machine.root.rglob("*touchpoint*")]
    assert left == []


@pytest.mark.parametrize("name", ["preinst", "postinst", "prerm", "postrm"])
def test_every_shell_takes_the_scripts(name: str, machine: Machine) -> None:
    """They are for any shell of POSIX, as Debian wants it (Policy, 10.4), and know no action without a name."""
    assert machine.script(name, NEW, "unknown-action").returncode == 0
