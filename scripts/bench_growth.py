"""Measures how the cost of a command grows: each work at N, 2N and 4N, with the exponent of its growth between the first and
the last (1.0: in a straight line). Used by scripts/bench, in the directory of its project.

Seconds are of the whole command, the median of the rounds; "first" is the time of the first round where a later one finds
something kept.
"""

import argparse
import json
import math
import os
import shutil
import statistics
import subprocess
import sys
import time


def run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"bench: exit {done.returncode} of {' '.join(command)}:\n{done.stderr[-2000:]}{done.stdout[-2000:]}")
    return done.stdout


def seconds(*command: str) -> float:
    start = time.monotonic()
    run(*command)
    return time.monotonic() - start


def project(files: dict) -> None:
    """Nothing but these migrations, in an empty database."""
    shutil.rmtree("migrations", ignore_errors=True)
    for name, text in files.items():
        os.makedirs(os.path.dirname(f"migrations/{name}"), exist_ok=True)
        with open(f"migrations/{name}", "w", encoding="utf-8") as file:
            file.write(text)
    run("dropdb", "--if-exists", "dusangire")
    run("createdb", "dusangire")


def tables(count: int, more: str = "") -> str:
    """An application's tables: each with a key to the one before, an index and a check."""
    text = []
    for number in range(count):
        key = f" REFERENCES t{number - 1}" if number else ""
        text.append(
            f"CREATE TABLE t{number} (id integer PRIMARY KEY, of integer{key}, name text NOT NULL{more},"
            f" CONSTRAINT t{number}_name CHECK (name <> ''));\nCREATE INDEX t{number}_of ON t{number} (of);\n"
        )
    return "".join(text)


def small(count: int) -> dict:
    files, before = {}, ""
    for number in range(1, count + 1):
        name = f"{number:04d}_m"
        files[f"shop/{name}.sql"] = f"{before}-- migrate:up\nSELECT {number};\n-- migrate:down\nSELECT {number};\n"
        before = f"-- depends: shop/{name}\n"
    return files


def lint(count: int, rounds: int) -> dict:
    rows = "".join(f"INSERT INTO dish (id, name, note) VALUES ({n}, 'dish {n}', {'x' * 150!r});\n" for n in range(count))
    project({"shop/0001_seed.sql": f"-- migrate:up\n{rows}"})
    return {"": statistics.median(seconds("safe-migrate", "lint", "--quiet") for _ in range(rounds))}


def plan(count: int, rounds: int) -> dict:
    project(small(count))
    return {"": statistics.median(seconds("safe-migrate", "plan", "--quiet") for _ in range(rounds))}


def rehearsed() -> dict:
    """Milliseconds of the phases of a rehearsal on a new snapshot."""
    document = json.loads(run("safe-migrate", "rehearse", "--snapshot", "new", "--json", "--quiet"))["rehearsal"]
    return {phase["name"]: phase["milliseconds"] / 1000 for phase in document["phases"]}


def observe(count: int, _: int) -> dict:
    down = "".join(f"DROP TABLE t{number};\n" for number in reversed(range(count)))
    up = "".join(f"CREATE TABLE t{number} (id integer PRIMARY KEY, name text);\n" for number in range(count))
    project({"shop/0001_initial.sql": f"-- migrate:up\n{up}-- migrate:down\n{down}"})
    phases = rehearsed()
    return {"migrations": phases["migrations"], "way back": phases["way back"]}


def many(count: int, _: int) -> dict:
    project(small(count))
    phases = rehearsed()
    return {"migrations": phases["migrations"], "way back": phases["way back"]}


def make(count: int, _: int) -> dict:
    project({"shop/schema.sql": tables(count)})
    found = {"first": seconds("safe-migrate", "make", "shop", "--quiet")}
    with open("migrations/shop/schema.sql", "w", encoding="utf-8") as file:
        file.write(tables(count, ", note text"))
    found["change, kept server"] = seconds("safe-migrate", "make", "shop", "--dry-run", "--quiet")
    shutil.rmtree("shadow", ignore_errors=True)
    os.makedirs("shadow", mode=0o755)
    found["change"] = seconds("safe-migrate", "make", "shop", "--dry-run", "--quiet")
    return found


WORKS = {
    "lint of N INSERTs in one file": (lint, 2000),
    "plan of N migrations": (plan, 1250),
    "rehearse N CREATE TABLE": (observe, 400),
    "rehearse N small migrations": (many, 500),
    "make N tables": (make, 250),
}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default="", help="works whose name has this word")
    arguments = parser.parse_args()
    print(f"{'work':<54} {'N':>6} {'N':>9} {'2N':>9} {'4N':>9}  exponent")
    for name, (work, start) in WORKS.items():
        if arguments.only not in name:
            continue
        results = [work(start * factor, arguments.rounds) for factor in (1, 2, 4)]
        for part in results[0]:
            taken = [result[part] for result in results]
            exponent = math.log(max(taken[2], 1e-3) / max(taken[0], 1e-3), 4)
            label = f"{name}, {part}" if part else name
            times = " ".join(f"{one:>7.2f} s" for one in taken)
            print(f"{label:<54} {start:>6} {times}  {exponent:.2f}", flush=True)


if __name__ == "__main__":
    main()
