"""Measures one pending ADD COLUMN: how long the application stands still for it while a reader is in the way, and how long
`apply` takes beside `psql -1` until the column is committed. Used by scripts/bench, in the directory of its project.

Each `apply` goes by a snapshot and a rehearsal that are there already. A stall is the longest transaction of ten clients,
of all that pgbench logged.
"""

import argparse
import glob
import json
import os
import statistics
import subprocess
import sys
import time

TABLE = "orders_orderitem"
UP = f"ALTER TABLE {TABLE} ADD COLUMN bench integer;"
DOWN = f"ALTER TABLE {TABLE} DROP COLUMN bench;"
CLIENTS = 10
READER_SECONDS = 10
LOAD = f"""\\set id random(1, :rows)
UPDATE {TABLE} SET quantity = quantity WHERE id = :id;
"""


def run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"bench: exit {done.returncode} of {' '.join(command)}:\n{done.stderr}{done.stdout}")
    return done.stdout


def psql(text: str) -> str:
    return run("psql", "-qAtX", "-v", "ON_ERROR_STOP=1", "-c", text).strip()


def write_plan() -> None:
    """The only pending migration, and a script with the same statement for psql."""
    os.makedirs("migrations/bench", exist_ok=True)
    with open("migrations/bench/0001_bench.sql", "w", encoding="utf-8") as file:
        file.write(f"-- migrate:up\n{UP}\n-- migrate:down\n{DOWN}\n")
    with open("bench.sql", "w", encoding="utf-8") as file:
        file.write(UP + "\n")


def forget() -> None:
    """Takes the column back, and all that the ledger knows of it."""
    psql(f"ALTER TABLE {TABLE} DROP COLUMN IF EXISTS bench")
    runs = "SELECT run_id FROM safe_migrate.migration WHERE app = 'bench'"
    psql(
        f"""CREATE TEMP TABLE gone AS {runs};
            DELETE FROM safe_migrate.step WHERE run_id IN (SELECT run_id FROM gone);
            DELETE FROM safe_migrate.schema WHERE run_id IN (SELECT run_id FROM gone);
            DELETE FROM safe_migrate.run WHERE id IN (SELECT run_id FROM gone);
            DELETE FROM safe_migrate.migration WHERE app = 'bench'"""
    )


def ours(rehearsal: str) -> list:
    choice = ["--snapshot", "max-age=12h", "--rehearsal", rehearsal]
    return ["safe-migrate", "apply", "bench", "--yes", "--json", "--quiet", *choice]


def theirs() -> list:
    return ["psql", "-qX1", "-v", "ON_ERROR_STOP=1", "-f", "bench.sql"]


def stall(command: list, rows: int) -> tuple:
    """Longest transaction of the load, and seconds of the command, with a reader in the way."""
    with open("load.sql", "w", encoding="utf-8") as file:
        file.write(LOAD)
    seconds = READER_SECONDS + 8
    options = ["-n", "-c", str(CLIENTS), "-j", "2", "-T", str(seconds), "-D", f"rows={rows}"]
    logged = ["-l", "--log-prefix=stall", "-f", "load.sql"]
    load = subprocess.Popen(["pgbench", *options, *logged], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    time.sleep(2)
    reading = f"BEGIN; SELECT count(*) FROM {TABLE}; SELECT pg_sleep({READER_SECONDS}); COMMIT"
    reader = subprocess.Popen(["psql", "-qX", "-c", reading], stdout=subprocess.DEVNULL)
    time.sleep(1)
    start = time.monotonic()
    run(*command)
    taken = time.monotonic() - start
    reader.wait()
    if load.wait() != 0:
        sys.exit("bench: pgbench failed")
    longest = 0.0
    for name in glob.glob("stall.*"):
        with open(name, encoding="ascii") as log:
            # client, number, microseconds, script, time
            longest = max(longest, max((int(line.split()[2]) for line in log), default=0) / 1e6)
        os.remove(name)
    return longest, taken


def until_committed(rehearsal: str) -> dict:
    """Seconds from the start of `apply` to its last commit, seconds after that, and its phases."""
    start, clock = time.time(), time.monotonic()
    document = json.loads(run(*ours(rehearsal)))
    wall = time.monotonic() - clock
    committed = float(psql("SELECT extract(epoch FROM applied_at) FROM safe_migrate.migration WHERE app = 'bench'"))
    phases = {phase["name"]: phase["milliseconds"] / 1000 for phase in document["phases"]}
    return {"committed": committed - start, "rest": wall - (committed - start), **phases}


def by_psql() -> float:
    start = time.monotonic()
    run(*theirs())
    return time.monotonic() - start


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    write_plan()
    run("safe-migrate", "snapshot", "create", "--quiet")
    rehearsal = json.loads(run("safe-migrate", "rehearse", "bench", "--json", "--quiet"))["rehearsal"]["id"]
    rows = int(psql(f"SELECT max(id) FROM {TABLE}"))

    apply, plain = [], []
    for number in range(rounds + 1):
        plain.append(by_psql())
        forget()
        apply.append(until_committed(rehearsal))
        forget()
        if number == 0:  # the first round warms the caches up
            apply, plain = [], []
    middle = {name: statistics.median(one[name] for one in apply) * 1000 for name in apply[0]}
    their = statistics.median(plain) * 1000
    print(f"ADD COLUMN until it is committed: apply {middle['committed']:.0f} ms, psql -1 {their:.0f} ms,"
          f" {middle['committed'] - their:.0f} ms more (limit 300); after the commit {middle['rest']:.0f} ms")
    names = ("plan", "snapshot", "rehearsal", "gates", "migrations", "verification")
    print("  phases: " + ", ".join(f"{name} {middle[name]:.0f} ms" for name in names))

    stalls = {"apply": [], "psql -1": []}
    for number in range(min(rounds, 3)):
        for name, command in (("apply", ours(rehearsal)), ("psql -1", theirs())):
            stalls[name].append(stall(command, rows))
            forget()
        print(f"stall, round {number + 1} of {min(rounds, 3)}", file=sys.stderr)
    print(f"longest stall of {CLIENTS} clients, a reader of {READER_SECONDS} s in the way (limit 0.6 s for apply):")
    for name, results in stalls.items():
        longest, taken = (max(one[0] for one in results), statistics.median(one[1] for one in results))
        print(f"  {name:<8} {longest:>6.2f} s  (median {statistics.median(one[0] for one in results):.2f} s), done after {taken:.1f} s")


if __name__ == "__main__":
    main()
