#!/usr/bin/env python3
"""Runs the original on every case of tests/data/corpus and rewrites the recorded lines.

Usage: record-corpus.py [--table] [FILE.txt ...]

`ldirectord FILE status` reads each case, in new namespaces, with only the names of tests/data/corpus/hosts and services.
Exit code 3 (not running) means accepted, 2 refused. Observe.pm, loaded into the original, writes what it understood.

--table writes nothing: it starts the original in the foreground on each accepted case, with an `ipvsadm` that only records
its arguments. The services and servers that the original adds must be the recorded ones.
"""
import os
import re
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

HERE = Path(__file__).resolve().parent
CORPUS = HERE.parent / "data" / "corpus"
ORIGINAL = "/usr/sbin/ldirectord"
# The number of cases at a time.
PROCESSES = 2
# The time after which a case counts as hanging.
SECONDS = 10
# Cases with another table, and why.
OTHER_TABLE = {
    'schedflags="a_b"': "the shell finds no closing quote, and ipvsadm is never called",
    "P86 global readdquiescent=yes": "servers that are not up yet are then not added at the start",
    "a long mark": "written in short",
}
RECORDED = re.compile(r"# recorded from .*")


def missing():
    """The missing requirements."""
    if os.geteuid() != 0:
        yield "root (for namespaces: unshare, mount)"
    if not os.access(ORIGINAL, os.R_OK):
        yield f"{ORIGINAL} (Debian package ldirectord)"
    if not any(os.access(f"{where}/ipvsadm", os.X_OK) for where in ("/sbin", "/usr/sbin")):
        yield "ipvsadm (not run, but the original requires it)"
    for tool in ("perl", "unshare"):
        if subprocess.run(["which", tool], capture_output=True).returncode:
            yield tool


def isolate():
    """Starts itself again in new namespaces, which hide its actions and have no network."""
    if os.environ.get("CORPUS_ISOLATED") != "1":
        environment = dict(os.environ, CORPUS_ISOLATED="1")
        command = ["unshare", "-m", "-n", "-p", "-i", "-u", "--fork", "--mount-proc", sys.executable, __file__]
        sys.exit(subprocess.run(command + sys.argv[1:], env=environment).returncode)
    run = lambda *command: subprocess.run(command, check=True)
    nsswitch = Path(tempfile.mkdtemp()) / "nsswitch.conf"
    nsswitch.write_text("hosts: files\nservices: files\npasswd: files\ngroup: files\nprotocols: files\n")
    run("mount", "--make-rprivate", "/")
    run("mount", "--bind", str(nsswitch), "/etc/nsswitch.conf")
    run("mount", "--bind", str(CORPUS / "hosts"), "/etc/hosts")
    run("mount", "--bind", str(CORPUS / "services"), "/etc/services")
    for directory in ("/run", "/etc/ha.d", "/var/log"):
        run("mount", "-t", "tmpfs", "corpus", directory)


def unescape(line):
    """The bytes of a line of a case."""
    out, at = bytearray(), 0
    while at < len(line):
        c = line[at]
        if c != "\\":
            out += c.encode()
            at += 1
            continue
        kind = line[at + 1]
        if kind == "x":
            out.append(int(line[at + 2:at + 4], 16))
            at += 4
        elif kind == "{":
            end = line.index("}", at)
            count, piece = line[at + 2:end].split(":", 1)
            out += piece.encode() * int(count)
            at = end + 1
        else:
            out += {"t": b"\t", "r": b"\r", "\\": b"\\"}[kind]
            at += 2
    return bytes(out)


def content(lines):
    """The file of a case: `|` is a line, `-` a line without its newline."""
    return b"".join(unescape(line[1:]) + (b"\n" if line[0] == "|" else b"") for line in lines)


def escape(data):
    """Bytes in the notation of the corpus."""
    return short("".join(chr(b) if 0x20 <= b < 0x7f and b != 0x5c else f"\\x{b:02x}" for b in data))


def short(line):
    """Writes a character that repeats 80 times or more once."""
    return re.sub(r"([ -\[\]-~])\1{79,}", lambda run: f"\\{{{len(run[0])}:{run[1]}}}", line)


def ask(lines):
    """How the original reads a case: the lines to record."""
    with tempfile.TemporaryDirectory(dir="/run") as directory:
        Path(directory, "case.cf").write_bytes(content(lines))
        reader, writer = os.pipe()
        environment = {
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "PERLIO": "perlio", "LC_ALL": "C",
            "HOSTNAME": "director.example", "OBSERVE_FD": str(writer),
        }
        command = ["perl", f"-I{HERE}", "-MObserve", ORIGINAL, "case.cf", "status"]
        done = subprocess.Popen(command, cwd=directory, env=environment, pass_fds=[writer],
                                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        os.close(writer)
        with ThreadPoolExecutor(1) as pool:
            seen = pool.submit(lambda: os.fdopen(reader, "rb").read())
            try:
                _, stderr = done.communicate(timeout=SECONDS)
            except subprocess.TimeoutExpired:
                done.kill()
                _, stderr = done.communicate()
                return ["original hangs"]
            understood = seen.result()
        found = re.findall(
            rb"^(Error|Warning) \[\d+\](?: reading file case\.cf at line (\d+))?: (.*?)\n"
            rb"(?=Error \[|Warning \[|Use of |\Z)", stderr, re.M | re.S)
        rest = re.sub(rb"^(Error|Warning) \[\d+\].*?\n(?=Error \[|Warning \[|Use of |\Z)", b"", stderr, flags=re.M | re.S)
        out = []
        for word, line, message in found:
            number = line.decode() or "-"
            if word == b"Error":
                out.append(f"original refused {number}: {escape(message)}")
            elif done.returncode == 3:
                out.append(f" warning {number}: {escape(message)}")
        if done.returncode == 3:
            out.insert(0, "original accepted")
            out += map(short, understood.decode().splitlines())
        elif done.returncode != 2 or not out:
            out = [f"original exits {done.returncode}: {escape(stderr[:300])}"]
        if rest.strip() and not re.search(rb"Use of uninitialized|setlogsock", rest):
            print(f"unexpected output: {rest!r}", file=sys.stderr)
        return out


def added(recorded):
    """The arguments with which `ipvsadm` is called for the recorded services and servers."""
    expected, service = set(), None
    for line in recorded:
        if found := re.fullmatch(r' virtual (\w+) (\S+) (\w+)(?: persistent (\d+))?(?: netmask (\S+))?( ops)?'
                                 r'(?: schedflags "(.*)")?', line):
            protocol, place, scheduler, persistent, netmask, ops, flags = found.groups()
            service = {"tcp": "-t ", "udp": "-u "}.get(protocol, "-f ") + place
            six = " -6" if protocol == "fwm6" else ""
            once = " -o" if ops and protocol == "udp" else ""
            sticky = f" -p {persistent}" + (f" -M {netmask}" if netmask else "") if persistent else ""
            expected.add(f"-A {service}{six}{once} -s {scheduler}{sticky}" + (f" -b {flags}" if flags else ""))
        elif found := re.match(r"  real (\S+) (\w)", line):
            expected.add(f"{service} -r {found[1]} -{found[2]}")
    return expected


def start(lines, expected):
    """The calls of `ipvsadm` by the original until all expected calls are seen, at most 5 s."""
    with tempfile.TemporaryDirectory(dir="/run") as directory:
        Path(directory, "case.cf").write_bytes(content(lines))
        tool, log = Path(directory, "ipvsadm"), Path(directory, "log")
        tool.write_text('#!/bin/sh\nprintf "%s\\n" "$*" >> log\n')
        tool.chmod(0o755)
        log.touch()
        environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "PERLIO": "perlio", "LC_ALL": "C"}
        nothing = subprocess.DEVNULL
        daemon = subprocess.Popen(["perl", ORIGINAL, "-d", "case.cf", "start"], cwd=directory, env=environment,
                                  stdin=nothing, stdout=nothing, stderr=nothing)
        seen, end = set(), time.monotonic() + 5
        while not expected <= seen and time.monotonic() < end:
            time.sleep(0.1)
            for call in log.read_text(errors="replace").splitlines():
                # Marks and ports keep their leading zeros in the call; the corpus has numbers.
                call = re.sub(r"(?<=[: ])0+(?=\d)", "", call)
                if call.startswith("-A "):
                    seen.add(call)
                elif found := re.match(r"-[ae] (-\w \S+)(?: -6)?(?: -x \d+ -y \d+)? -r (\S+) -([gmi]) ", call):
                    seen.add(f"{found[1]} -r {found[2]} -{found[3]}")
        daemon.kill()
        daemon.wait()
        return seen


def check_table(path, pool):
    """Compares the recorded lines with what the original adds to the table; returns the number of different cases."""
    _, cases = parse(path)
    cases = [case for case in cases if case["original"][:1] == ["original accepted"]]
    expected = [added(case["original"]) for case in cases]
    wrong = 0
    for case, wanted, seen in zip(cases, expected, pool.map(start, [case["text"] for case in cases], expected)):
        services = {call for call in seen if call.startswith("-A ")}
        if case["name"].removeprefix("=== ") in OTHER_TABLE:
            continue
        if not wanted <= seen or services - wanted:
            wrong += 1
            print(f"{path.name}: {case['name']}\n recorded {sorted(wanted)}\n called   {sorted(seen)}")
    print(f"{path.name}: {len(cases)} cases accepted, {wrong} with another table")
    return wrong


def parse(path):
    """The first lines of a file of the corpus, and its cases."""
    head, cases, ours = [], [], False
    for line in path.read_text().splitlines():
        if line.startswith("=== "):
            cases.append({"name": line, "text": [], "notes": [], "original": [], "ours": []})
            ours = False
        elif not cases:
            if not RECORDED.fullmatch(line):
                head.append(line)
        elif line[:1] in ("|", "-"):
            cases[-1]["text"].append(line)
        elif line.startswith("#"):
            cases[-1]["notes"].append(line)
        elif line.startswith(("ours ", "id ")):
            ours = True
            cases[-1]["ours"].append(line)
        elif line.strip():
            cases[-1]["ours" if ours else "original"].append(line)
    return head, cases


def rewrite(path, pool, version):
    """Records the original again for one file of the corpus."""
    head, cases = parse(path)
    answers = list(pool.map(lambda case: ask(case["text"]), cases))
    out = [f"# recorded from {version}"] + [line for line in head if line.strip()]
    for case, answer in zip(cases, answers):
        out += ["", case["name"], *case["notes"], *case["text"], *answer, *case["ours"]]
    path.write_text("\n".join(out) + "\n")
    print(f"{path.name}: {len(cases)} cases")
    return len(cases)


def main():
    lacking = list(missing())
    if lacking:
        sys.exit("record-corpus needs: " + "; ".join(lacking))
    isolate()
    version = subprocess.run(["dpkg-query", "-W", "-f", "${Package} ${Version}", "ldirectord"],
                             capture_output=True, text=True).stdout or "ldirectord, version unknown"
    names = [name for name in sys.argv[1:] if name != "--table"]
    files = [Path(name).resolve() for name in names] or sorted(CORPUS.glob("*.txt"))
    with ThreadPoolExecutor(PROCESSES) as pool:
        if "--table" in sys.argv:
            sys.exit(sum(check_table(path, pool) for path in files) > 0)
        count = sum(rewrite(path, pool, version) for path in files)
    print(f"{count} cases")


main()
