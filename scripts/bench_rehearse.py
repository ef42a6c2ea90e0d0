"""Rehearses one small migration without, into and from the cache, and prints where the time went; then the cost of
observing a statement. Used by scripts/bench, in the directory of its project.

The phases are those of `rehearse --json`; what is before and after them (reading the snapshot's manifest, stopping the
server, removing its files) is the rest of the wall.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time

SMALL = "ALTER TABLE menu_menuitem ADD COLUMN bench integer NOT NULL DEFAULT 0;"
BACK = "ALTER TABLE menu_menuitem DROP COLUMN bench;"
TABLE = "CREATE TABLE bench_row (id integer);"
STATEMENTS = 500


def write_migration(statements: list, back: str) -> str:
    """The only pending migration; gives the path of a script with the same statements for psql."""
    os.makedirs("migrations/bench", exist_ok=True)
    text = "\n".join(statements)
    with open("migrations/bench/0001_bench.sql", "w", encoding="utf-8") as file:
        file.write(f"-- migrate:up\n{text}\n-- migrate:down\n{back}\n")
    with open("bench.sql", "w", encoding="utf-8") as file:
        file.write(text + "\n")
    return "bench.sql"


def rehearse(*options: str) -> dict:
    """Wall in seconds, and seconds of each phase in order."""
    start = time.monotonic()
    command = ["safe-migrate", "rehearse", "bench", "--json", "--quiet", *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    wall = time.monotonic() - start
    if done.returncode != 0:
        sys.exit(f"bench: exit {done.returncode} of {' '.join(command)}:\n{done.stderr}{done.stdout}")
    report = json.loads(done.stdout)["rehearsal"]
    phases = {phase["name"]: phase["milliseconds"] / 1000 for phase in report["phases"]}
    return {"wall": wall, **phases, "rest": wall - sum(phases.values())}


def psql(script: str) -> float:
    """Wall in seconds of the script in one transaction, which is rolled back by its last statement."""
    with open(script, "a", encoding="utf-8") as file:
        file.write("ROLLBACK;\n")
    start = time.monotonic()
    subprocess.run(["psql", "-qX1", "-v", "ON_ERROR_STOP=1", "-f", script], check=True, stderr=subprocess.DEVNULL)
    return time.monotonic() - start


def medians(rounds: list) -> dict:
    return {name: statistics.median(one[name] for one in rounds) for name in rounds[0]}


def emptying_the_cache() -> list:
    """The arguments that empty the cache, whose place is in the configuration."""
    with open("safe-migrate.toml", encoding="utf-8") as file:
        shadow = file.read().rsplit('dir = "', 1)[1].split('"')[0]
    return ["rm", "-rf", f"{shadow}/safe-migrate-cache-{os.geteuid()}"]


def where_the_time_goes(rounds: int) -> None:
    write_migration([SMALL], BACK)
    columns = {"--no-cache": [], "keeps a copy": [], "from the cache": []}
    for number in range(rounds):
        subprocess.run(emptying_the_cache(), check=True)
        columns["--no-cache"].append(rehearse("--no-cache"))
        columns["keeps a copy"].append(rehearse())
        columns["from the cache"].append(rehearse())
        print(f"round {number + 1} of {rounds}", file=sys.stderr)
    middle = {name: medians(results) for name, results in columns.items()}
    names = list(dict.fromkeys(phase for column in middle.values() for phase in column if phase not in ("wall", "rest")))
    print(f"{'seconds':<20}" + "".join(f"{name:>16}" for name in middle))
    for phase in [*names, "rest", "wall"]:
        cells = (column.get(phase) for column in middle.values())
        print(f"{phase:<20}" + "".join(f"{'' if cell is None else f'{cell:.2f}':>16}" for cell in cells))
    restore = middle["--no-cache"]["restore"]
    limits = []
    for column in middle.values():
        base = column.get("copy from cache", restore)
        limits.append(base + column["copy"] + 3 * column["migrations"] + 2)
    print(f"{'limit':<20}" + "".join(f"{limit:>16.2f}" for limit in limits))
    print("limit: restore with proof (or the copy from the cache) + copy + 3 x migrations + 2 s")


def cost_of_observing(rounds: int) -> None:
    inserts = [f"INSERT INTO bench_row VALUES ({number});" for number in range(STATEMENTS)]
    ours, theirs = [], []
    for _ in range(rounds):
        walls = []
        for statements in ([TABLE], [TABLE, *inserts]):
            script = write_migration(statements, "DROP TABLE bench_row;")
            walls.append((rehearse()["migrations"], psql(script)))
        ours.append((walls[1][0] - walls[0][0]) / STATEMENTS * 1000)
        theirs.append((walls[1][1] - walls[0][1]) / STATEMENTS * 1000)
    our, their = statistics.median(ours), statistics.median(theirs)
    print(f"\none of {STATEMENTS} INSERTs: {our:.2f} ms rehearsed, {their:.2f} ms by psql -1: {our - their:.2f} ms for observing it")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    where_the_time_goes(rounds)
    cost_of_observing(rounds)


if __name__ == "__main__":
    main()
