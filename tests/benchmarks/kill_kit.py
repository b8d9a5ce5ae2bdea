"""Kill whatever serves a retrain at a random moment, again and again, and see what is left.

Run from the project's folder: python -m tests.benchmarks.kill_kit [--kills 50] [--seed 0]
A real `widedeep up` works on a home of its own. Each round adds a few ratings, asks for a retrain
(cold or warm) or for a move by hand, kills one process or all of them by SIGKILL after a random
time, and checks that the champion still answers as when it was made. Then the supervisor (or, if
that is dead, the same command again) puts things right, and the kit checks that

- the next retrain completes, the lock is free, and no run stands as running in either tool;
- the champion is that of the last record, loads, and answers its golden requests as when made;
- every artefact that can be found and every registered version is whole;
- every line of the rating files is accounted for, and no pair is there twice.

It prints tables by what was killed and by what the run was at: rounds, how the killed run ended,
seconds until the next retrain had completed. With --record FILE rounds are added to that file, and
the tables are those of all rounds in it.
"""

import argparse
import json
import os
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from statistics import median

import httpx
import numpy as np
import pandas as pd
import psutil

from flows.environment import configure
from tests.benchmarks.kill_checks import Checks
from tests.flows.site import FINAL, Site
from widedeep.data.simulator.config import SimulationConfig
from widedeep.data.simulator.write import simulate
from widedeep.workspace import Workspace

TARGETS = {
    "flow run": "prefect.engine",
    "deployments": "flows.deployments",
    "Prefect server": "flows.prefect_server",
    "MLflow server": "mlflow server",
    "everything": "",
}
PATIENCE = 240
ASKED = ("retrain", "retrain", "retrain", "promote", "rollback")
KNOWN, ADDED = 7000, 12
"""Ratings at first, and those that are new in each round."""


def processes(site, target):
    """Those of the site that are meant by a target."""
    top = psutil.Process(site.process.pid)
    every = [top, *top.children(recursive=True)]
    if target == "everything":
        return every
    found = []
    for process in every:
        try:
            line = " ".join(process.cmdline())
        except psutil.Error:
            continue
        if TARGETS[target] in line:
            found.append(process)
    return found


def kill(site, target):
    """SIGKILL; gives how many died."""
    found = processes(site, target)
    for process in found:
        try:
            process.send_signal(signal.SIGKILL)
        except psutil.NoSuchProcess:
            continue
    return len(found)


def wait(reached):
    """Until it is so; gives the seconds."""
    begun = time.monotonic()
    while True:
        try:
            if reached():
                return time.monotonic() - begun
        except (httpx.HTTPError, AttributeError):
            pass
        if time.monotonic() - begun > PATIENCE:
            raise AssertionError(f"not within {PATIENCE} s: {reached.__doc__}")
        time.sleep(0.2)


class Kit:
    """The site under fire, and what it is asked for."""

    def __init__(self, folder, generator):
        whole, data = folder / "world", folder / "sim-kills"
        sizes = {"users": 300, "items": 60, "ratings": 8000, "seed": 4, "single_share": 0.1}
        simulate(
            SimulationConfig(**sizes, user_spread=0.5, item_spread=0.5, taste_spread=3.0), whole
        )
        shutil.copytree(whole, data)
        rates = pd.read_csv(whole / "rates.csv").sort_values("time", kind="stable")
        rates[:KNOWN].to_csv(data / "rates.csv", index=False)
        self.later, self.added = rates[KNOWN:], 0
        self.workspace, self.data, self.generator = folder / "home", data, generator
        self.workspace.mkdir()
        configure(Workspace(self.workspace))
        self.checks = Checks(self.workspace, "widedeep-sim-kills", data)
        self.site = self.start()
        self.took = {}

    def start(self):
        """Offer the deployments; the folder is watched by nobody, so that runs are those asked."""
        return Site(self.workspace, "sim")

    def warm_up(self):
        """Undisturbed runs tell how long each takes; the first one compiles and doesn't count."""
        self.undisturbed(self.retrain(0, "cold"))
        self.took["retrain"] = self.undisturbed(self.retrain(1, "cold"))
        self.took["promote"] = self.undisturbed(self.promote("warm-up"))

    def undisturbed(self, run):
        """Seconds until the run has a process, and from then on until it has completed."""
        until_process = wait(lambda: processes(self.site, "flow run"))
        until_end = wait(lambda: self.site.state(run)["type"] in FINAL)
        assert self.site.state(run)["type"] == "COMPLETED", self.site.state(run)
        return until_process, until_end

    def grow(self):
        """A few more ratings, so that each stage of the next retrain has something to do."""
        part = self.later[self.added : self.added + ADDED]
        part.to_csv(self.data / f"rates-{self.added:04}.csv", index=False)
        self.added += ADDED

    def ask(self, seed):
        """A retrain mostly, else a move by hand; gives the run and what it is."""
        what = str(self.generator.choice(ASKED))
        if what == "retrain":
            mode = str(self.generator.choice(["cold", "auto"]))
            return self.retrain(seed, mode), f"{mode} retrain"
        if what == "promote" or not self.checks.has_previous():
            return self.promote(f"round {seed}"), "promote"
        return self.run("rollback/rollback-by-hand", {"reason": f"round {seed}"}), "rollback"

    def promote(self, reason):
        """A version that does not serve now."""
        others = sorted(set(self.checks.versions()) - {self.checks.serves()})
        version = str(self.generator.choice(others))
        return self.run("promote/promote-by-hand", {"version": version, "reason": reason})

    def retrain(self, seed, mode):
        given = {"data": {"folder": str(self.data)}, "training": {"mode": mode, "seed": seed}}
        return self.run("retrain/on-new-data", given)

    def run(self, name, given):
        asked = f"deployments/{self.site.deployment(name)}/create_flow_run"
        return self.site.ask(asked, parameters=given)["id"]

    def round(self, number, target):
        """Kill once, mend, check; gives what happened."""
        self.grow()
        before = self.checks.finished()
        run, what = self.ask(number)
        until_process, until_end = self.took["retrain" if "retrain" in what else "promote"]
        if target == "flow run":
            wait(lambda: processes(self.site, "flow run"))
            until_process = 0.0
        delay = float(self.generator.uniform(0, until_process + until_end))
        time.sleep(delay)
        stage = self.checks.stage(before) if "retrain" in what else "a move by hand"
        died, begun = kill(self.site, target), time.monotonic()
        self.checks.serves()
        self.mend(target)
        self.recover(number)
        self.checks.everything()
        told = {"number": number, "killed": target, "asked": what, "stage": stage, "died": died}
        return told | {
            "delay": round(delay, 1),
            "ended": self.site.state(run)["name"],
            "seconds": round(time.monotonic() - begun, 1),
        }

    def mend(self, target):
        """What a person or systemd would do: start what nobody is left to start."""
        if target == "everything":
            self.site.process.wait()
            self.site = self.start()

    def recover(self, number):
        """The next retrain completes, and then nothing is under way."""

        def reachable():
            """the server answers"""
            return self.site.deployment("retrain/on-new-data")

        def rested():
            """no run of Prefect is under way"""
            return {run["state_type"] for run in self.site.runs()} <= FINAL

        def closed():
            """no task of Prefect is under way"""
            tasks = self.site.ask("task_runs/filter", sort="EXPECTED_START_TIME_DESC")
            return {task["state_type"] for task in tasks} <= FINAL

        wait(reachable)
        run = self.retrain(1000 + number, "auto")
        wait(lambda: self.site.state(run)["type"] in FINAL)
        assert self.site.state(run)["type"] == "COMPLETED", self.site.state(run)
        wait(rested)
        wait(closed)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--record", type=Path)
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="kill-kit-"))
    kit = Kit(folder, np.random.default_rng(options.seed))
    record = options.record or folder / "rounds.jsonl"
    number, target = 0, "nothing"
    try:
        kit.warm_up()
        for number in range(1, options.kills + 1):
            target = list(TARGETS)[number % len(TARGETS)]
            found = kit.round(number, target)
            with record.open("a", encoding="utf-8") as file:
                file.write(json.dumps(found) + "\n")
            sys.stderr.write(f"{found}\n")
    except BaseException:
        sys.stderr.write(f"round {number}, {target} killed; all is left in {folder}\n")
        raise
    finally:
        kit.site.process.send_signal(signal.SIGTERM)
        kit.site.process.wait(PATIENCE)
        if record.exists():
            report(map(json.loads, record.read_text(encoding="utf-8").splitlines()))
    for what, took in kit.took.items():
        sys.stdout.write(
            f"a {what} that nobody disturbs takes {sum(took):.0f} s from Run to its end\n"
        )
    shutil.rmtree(folder)


def report(rounds):
    """By what was killed, and by what the run was at."""
    rounds = list(rounds)
    for key in ("killed", "stage"):
        sys.stdout.write(f"{key:16} {'rounds':>6}  {'s until well':>20}  how the run ended\n")
        for value in dict.fromkeys(found[key] for found in rounds):
            mine = [found for found in rounds if found[key] == value]
            seconds = [found["seconds"] for found in mine]
            ended = Counter(found["ended"] for found in mine).most_common()
            told = f"{median(seconds):.0f} (at most {max(seconds):.0f})"
            words = ", ".join(f"{count} {state}" for state, count in ended)
            sys.stdout.write(f"{value:16} {len(mine):>6}  {told:>20}  {words}\n")


if __name__ == "__main__":
    os.environ.setdefault("PREFECT_LOGGING_LEVEL", "WARNING")
    main()
