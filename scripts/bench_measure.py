"""Runs commands in turn, several rounds, and prints medians and ratios. Used by scripts/bench.

Each command is "name|path of what it writes|shell command". CPU of the server is the time that the backends of the given
postmaster used: those that ended are in its counters of waited-for children (proc(5): cutime, cstime), and every command
here ends its sessions.
"""

import argparse
import os
import resource
import statistics
import subprocess
import sys
import time


def backends_cpu(postmaster: int) -> float:
    """Seconds of CPU of the postmaster's children that have ended (Linux only, else 0)."""
    try:
        with open(f"/proc/{postmaster}/stat", encoding="ascii") as stat:
            fields = stat.read().rsplit(")", 1)[1].split()
    except OSError:
        return 0.0
    return (int(fields[13]) + int(fields[14])) / os.sysconf("SC_CLK_TCK")


def run(command: str, postmaster: int) -> dict:
    """Wall, client CPU, server CPU (seconds) and peak memory (MiB) of a shell command."""
    server = backends_cpu(postmaster)
    start = time.monotonic()
    process = subprocess.Popen(["bash", "-o", "pipefail", "-c", command], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    wall = time.monotonic() - start
    if process.returncode != 0:
        sys.exit(f"bench: exit {process.returncode} of: {command}")
    time.sleep(0.3)  # backends that are just ending are counted when the postmaster has waited for them
    return {
        "wall": wall,
        "client": usage.ru_utime + usage.ru_stime,
        "server": backends_cpu(postmaster) - server,
        "memory": usage.ru_maxrss / 1024,
    }


def bytes_of(path: str) -> int:
    """Bytes of the files below a path."""
    if os.path.isfile(path):
        return os.path.getsize(path)
    return sum(
        os.path.getsize(os.path.join(folder, name)) for folder, _, names in os.walk(path) for name in names
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--postmaster", type=int, required=True)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--before", default="true")
    parser.add_argument("commands", nargs="+")
    arguments = parser.parse_args()
    commands = [command.split("|", 2) for command in arguments.commands]
    measured = {name: [] for name, _, _ in commands}
    stored = {}
    for number in range(arguments.rounds + 1):
        for name, path, command in commands:
            subprocess.run(["bash", "-c", arguments.before], check=True, stderr=subprocess.DEVNULL)
            result = run(command, arguments.postmaster)
            if number > 0:  # the first round warms the caches up
                measured[name].append(result)
            stored[name] = bytes_of(path) if path else 0
        print(f"round {number} of {arguments.rounds}", file=sys.stderr)
    print(f"{'':<42} {'wall s':>7} {'(min-max)':>13} {'client s':>8} {'server s':>8} {'MiB':>6} {'MB':>7} {'ours/it':>8}")
    ours = None
    for name, _, _ in commands:
        rounds = measured[name]
        median = {key: statistics.median(one[key] for one in rounds) for key in rounds[0]}
        walls = [one["wall"] for one in rounds]
        ours = ours or median["wall"]
        spread = f"({min(walls):.2f}-{max(walls):.2f})"
        print(
            f"{name:<42} {median['wall']:>7.2f} {spread:>13} {median['client']:>8.2f} {median['server']:>8.2f} "
            f"{median['memory']:>6.0f} {stored[name] / 1e6:>7.0f} {ours / median['wall']:>8.2f}"
        )


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    main()
