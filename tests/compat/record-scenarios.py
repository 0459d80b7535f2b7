#!/usr/bin/env python3
"""Runs the original on the scenarios of tests/compat/scenarios, in the lab, and records what it does.

Usage: record-scenarios.py [PART-OF-A-NAME ...]

Changes only the `|` lines of the scenarios, and the file `recorded` with the versions of the recorded programs. Then runs
ours on the same scenarios, so that the times of both programs come from one machine on one day. Needs root; installs
Debian's package `ldirectord` if it is missing, without starting a service.
"""
import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
SCENARIOS = ROOT / "tests" / "compat" / "scenarios"
# The original's checks and mails need Perl modules that its package only recommends.
PACKAGES = ["ldirectord", "ipvsadm", "libwww-perl", "libmailtools-perl"]


def install():
    """Installs the original if it is missing."""
    if os.access("/usr/sbin/ldirectord", os.X_OK):
        return
    if os.geteuid() != 0:
        sys.exit(f"record: run as root: apt-get install --no-install-recommends {' '.join(PACKAGES)}")
    environment = dict(os.environ, DEBIAN_FRONTEND="noninteractive", RUNLEVEL="1")
    command = ["apt-get", "install", "-qq", "-y", "--no-install-recommends", *PACKAGES]
    if subprocess.run(command, env=environment).returncode:
        subprocess.run(["apt-get", "update", "-qq"], check=True)
        subprocess.run(command, env=environment, check=True)


def version(package):
    """The version of a Debian package."""
    asked = subprocess.run(["dpkg-query", "-W", "-f", "${Version}", package], capture_output=True, text=True)
    return asked.stdout or "(not Debian's)"


def lab(mode, only):
    """Runs the scenarios in the lab; returns the output and the exit code."""
    environment = dict(os.environ, JUDGE=mode, JUDGE_ONLY=" ".join(only))
    environment["LAB_ENV"] = "JUDGE JUDGE_ONLY JUDGE_THREADS LDIRECTORD_RS RUST_BACKTRACE"
    environment.setdefault("LAB_TIMEOUT", "5400")
    # The same for both programs, so that their times can be compared.
    environment.setdefault("JUDGE_THREADS", "5")
    runner = f"target.\"cfg(all())\".runner = \"{ROOT}/tests/lab/run\""
    command = [os.environ.get("CARGO", "cargo"), "--config", runner, "test", "--test", "lab", "--", "compat::", "--nocapture"]
    run = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    lines, inside = [], False
    for line in run.stdout:
        line = line.decode(errors="replace").replace("\r", "")
        lines.append(line)
        inside = line.startswith("@@@ begin") or (inside and not line.startswith("@@@ end"))
        if not inside and not line.startswith("@@@"):
            print(line, end="", flush=True)
    return "".join(lines), run.wait()


def main():
    install()
    only = sys.argv[1:]
    output, code = lab("record", only)
    kernel = re.search(r"@@@ kernel (\S+)", output)
    recorded = re.findall(r"(?ms)^@@@ begin (\S+)\n(.*?)^@@@ end$", output)
    changed = []
    for name, text in recorded:
        path = SCENARIOS / f"{name}.scenario"
        if path.read_text() != text:
            changed.append(name)
            path.write_text(text)
    if recorded and not only:
        (SCENARIOS / "recorded").write_text(
            f"ldirectord {version('ldirectord')}\nipvsadm {version('ipvsadm')}\nperl {version('perl')}\n"
            f"Linux {kernel[1] if kernel else '(unknown)'}\n")
    print(f"record: {len(recorded)} scenarios; changed: {' '.join(changed) or 'none'}")
    times = re.findall(r"judge: from an event to the table, .*", output)
    output, ours = lab("judge", only)
    for line in times + re.findall(r"judge: from an event to the table, .*", output):
        print(line)
    sys.exit(code or ours)


main()
