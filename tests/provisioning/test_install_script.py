"""The installer: clean for every POSIX shell, careful with its command line, and able to go back by itself."""

import os
import pwd
import shutil
import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
INSTALL = ROOT / "scripts" / "install.sh"
SCRIPTS = [INSTALL, ROOT / "scripts" / "box" / "supervise", ROOT / "scripts" / "offline-bundle"]
BOOT = Path("/proc/sys/kernel/random/boot_id")


def install(*arguments, stdin=""):
    return subprocess.run(
        ["sh", str(INSTALL), *map(str, arguments)], capture_output=True, text=True, input=stdin, check=False
    )


def places(folder):
    user = pwd.getpwuid(os.getuid()).pw_name
    return [
        *("--prefix", folder / "opt", "--config-dir", folder / "etc", "--state-dir", folder / "var"),
        *("--run-dir", folder / "run", "--log-dir", folder / "log", "--user", user, "--service", "none"),
    ]


@pytest.fixture
def trial(tmp_path):
    """A box with two versions, the new one on trial."""
    prefix = tmp_path / "opt"
    for version in ("old", "new"):
        home = prefix / "versions" / version
        home.mkdir(parents=True)
        (home / ".complete").touch()
        (home / ".version").write_text(f"{version}\n")
    (prefix / "current").symlink_to("versions/new")
    (prefix / "previous").symlink_to("versions/old")
    (prefix / "install.env").write_text(f"prefix={prefix}\nservice=none\nuser={pwd.getpwuid(os.getuid()).pw_name}\n")

    def pending(boot=None, within_s=600):
        up_s = int(float(Path("/proc/uptime").read_text().split()[0]))
        boot = boot or BOOT.read_text().strip()
        (prefix / "upgrade.pending").write_text(f"from=old\nto=new\nboot={boot}\ndeadline_s={up_s + within_s}\n")
        return prefix

    return pending


def current(prefix):
    return os.readlink(prefix / "current")


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.name)
def test_every_posix_shell_reads_it(script):
    assert subprocess.run(["sh", "-n", str(script)], check=False).returncode == 0
    if shutil.which("dash"):
        assert subprocess.run(["dash", "-n", str(script)], check=False).returncode == 0


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="shellcheck is not installed")
@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.name)
def test_shellcheck_finds_nothing(script):
    done = subprocess.run(["shellcheck", str(script)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--token", "circ1.a.b.c"], "there is no option --token"),
        (["--prefix", "relative"], "is not absolute"),
        (["--prefix", "/opt/a b"], "has characters"),
        (["--confirm-within", "soon"], "whole seconds"),
        (["--label", "zone"], "is not KEY=VALUE"),
        (["--service", "upstart"], "use auto, systemd, plain or none"),
        (["--device"], "--device needs a value"),
    ],
)
def test_a_bad_command_line_is_refused_with_its_cure(arguments, said):
    done = install(*arguments)
    assert done.returncode == 2
    assert said in done.stderr
    assert "->" in done.stderr


def test_a_dry_run_tells_what_would_change_and_changes_nothing(tmp_path):
    done = install(*places(tmp_path), "--device", "box", "--planner", "127.0.0.1:7400", "--tier", "edge", "--dry-run")
    assert done.returncode == 0, done.stderr
    assert "would     version" in done.stdout
    assert done.stdout.splitlines()[-1].startswith("result: would change ")
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_bundle_is_refused(tmp_path):
    (tmp_path / "b.tar").write_bytes(b"no archive")
    done = install(*places(tmp_path), "--bundle", tmp_path / "b.tar", "--device", "box", "--planner", "h:1")
    assert done.returncode == 1
    assert "no whole archive" in done.stderr
    assert not (tmp_path / "opt" / "current").exists()
    assert not (tmp_path / "opt" / ".lock").exists()


def test_a_version_on_trial_stays_while_its_time_is_not_over(trial):
    prefix = trial()
    assert install("--settle", "--prefix", prefix).returncode == 0
    assert current(prefix) == "versions/new"


def test_a_box_that_went_down_with_a_version_on_trial_comes_up_with_the_one_before(trial):
    prefix = trial(boot="another")
    assert install("--settle", "--prefix", prefix).returncode == 0
    assert current(prefix) == "versions/old"
    assert "result=rolled back" in (prefix / "upgrade.last").read_text()


def test_a_version_that_nobody_confirms_in_time_is_taken_back(trial):
    prefix = trial(within_s=0)
    assert install("--watch", "--prefix", prefix).returncode == 0
    assert current(prefix) == "versions/old"
    assert not (prefix / ".lock").exists()


def test_a_confirmed_version_stays_and_the_one_before_is_kept(trial):
    prefix = trial()
    assert install("--confirm", "--prefix", prefix).returncode == 0
    assert install("--watch", "--prefix", prefix).returncode == 0
    assert current(prefix) == "versions/new"
    assert (prefix / "versions" / "old").is_dir()


def test_a_confirmation_that_comes_too_late_is_told_so(trial):
    prefix = trial(within_s=0)
    install("--watch", "--prefix", prefix)
    done = install("--confirm", "--prefix", prefix)
    assert done.returncode == 1
    assert "rolled back, nobody confirmed it in time" in done.stderr


def test_a_second_upgrade_waits_for_the_first_to_be_confirmed(trial, tmp_path):
    done = install("--upgrade", "--version", "3", "--prefix", trial())
    assert done.returncode == 1
    assert "waits to be confirmed" in done.stderr


def test_one_install_at_a_time(trial):
    prefix = trial()
    (prefix / ".lock").mkdir()
    (prefix / ".lock" / "pid").write_text(f"{os.getpid()}\n")
    done = install("--roll-back", "--prefix", prefix)
    assert (done.returncode, current(prefix)) == (1, "versions/new")
    assert "another install" in done.stderr


def test_the_lock_of_one_that_died_is_taken_over(trial):
    prefix = trial()
    ended = subprocess.Popen(["true"])
    ended.wait()
    (prefix / ".lock").mkdir()
    (prefix / ".lock" / "pid").write_text(f"{ended.pid}\n")
    assert install("--roll-back", "--prefix", prefix).returncode == 0
    assert current(prefix) == "versions/old"


def test_uninstall_leaves_what_is_not_its_own(trial):
    prefix = trial()
    (prefix / "notes.txt").write_text("mine")
    assert install("--uninstall", "--prefix", prefix).returncode == 0
    assert [path.name for path in prefix.iterdir()] == ["notes.txt"]
    again = install("--uninstall", "--prefix", prefix)
    assert (again.returncode, again.stdout.splitlines()[-1]) == (0, "result: changed 0")
