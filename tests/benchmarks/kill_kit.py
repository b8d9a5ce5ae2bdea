"""Kill whatever serves a retrain at a random moment, again and again, and see what is left.

Run from the project's folder: python -m tests.benchmarks.kill_kit [--kills 50] [--seed 0]
A real `widedeep up` works on a home of its own. Each round asks for a retrain (or for a move by
hand), kills one process or all of them by SIGKILL after a random time, lets the supervisor (or, if
that is dead, the same command again) put things right, and then checks that

- the champion is that of the last record, loads, and answers its golden requests as when made;
- every artefact that can be found is whole, and all ratings that were read are accounted for;
- the next retrain completes, so no lock is left; and no run stands as running in either tool.

It prints a table by what was killed: rounds, runs that survived, seconds until all was well.
"""

import argparse
import json
import os
import signal
import sqlite3
import sys
import tempfile
import time
from collections import Counter, defaultdict
from pathlib import Path
from statistics import median

import httpx
import numpy as np
import psutil

from flows.environment import configure
from tasks.tracking import Tracker
from tests.flows.site import FINAL, Site
from widedeep import decision_log
from widedeep.artifact_store import MANIFEST
from widedeep.data.simulator import Simulation, simulate
from widedeep.evaluation.golden import GOLDEN, GoldenRequests
from widedeep.evaluation.scoring import model_scorer
from widedeep.features.companion import Companion
from widedeep.features.history import Queries
from widedeep.home import Home
from widedeep.model.trained_model import TrainedModel

TARGETS = {
    "flow run": "prefect.engine",
    "deployments": "flows.deployments",
    "Prefect server": "prefect server start",
    "MLflow server": "mlflow server",
    "everything": "",
}
PATIENCE = 240
MODEL = "widedeep-sim-kills"


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


def wait(reached, patience=PATIENCE):
    """Until it is so; gives the seconds."""
    begun = time.monotonic()
    while True:
        try:
            if reached():
                return time.monotonic() - begun
        except (httpx.HTTPError, AttributeError):
            pass
        if time.monotonic() - begun > patience:
            raise AssertionError(f"not within {patience} s: {reached.__doc__}")
        time.sleep(0.5)


class Kit:
    """The site under fire, and the questions it has to answer."""

    def __init__(self, home, data, generator):
        self.home, self.data, self.generator = home, data, generator
        self.site = Site(home, data)
        self.rows = None

    def ask_for(self, seed):
        """A retrain mostly, else a move by hand; gives the run."""
        what = self.generator.choice(["retrain", "retrain", "retrain", "promote", "rollback"])
        versions = self.versions()
        if what == "retrain" or len(versions) < 2:
            return self.retrain(seed)
        reason = {"reason": f"round {seed}"}
        if what == "promote":
            reason["version"] = str(self.generator.choice(versions))
        name = self.site.deployment(f"{what}/manual")
        return self.site.ask(f"deployments/{name}/create_flow_run", parameters=reason)["id"]

    def retrain(self, seed):
        """A cold one, so that there is something to do each time."""
        name = self.site.deployment("retrain/on-new-data")
        given = {"data": {"folder": str(self.data)}, "training": {"mode": "cold", "seed": seed}}
        return self.site.ask(f"deployments/{name}/create_flow_run", parameters=given)["id"]

    def versions(self):
        with sqlite3.connect(self.home / "mlflow.db") as database:
            return [str(v) for (v,) in database.execute("select version from model_versions")]

    def mend(self, target):
        """What a person or systemd would do: start what nobody is left to start."""
        if target == "everything":
            self.site.process.wait()
            self.site = Site(self.home, self.data)

    def check(self, seed):
        """Everything that must be true; gives the state that the next retrain ended in."""

        def reachable():
            """the server answers"""
            return self.site.deployment("retrain/on-new-data")

        def rested():
            """no run of Prefect is under way"""
            states = {run["state_type"] for run in self.site.runs()}
            return states <= FINAL

        wait(reachable)
        run = self.retrain(1000 + seed)
        wait(lambda: self.site.state(run)["type"] in FINAL)
        ended = self.site.state(run)
        assert ended["type"] == "COMPLETED", ended
        wait(rested)
        self.check_registry()
        self.check_artefacts()
        assert not list((self.home / "running").iterdir())
        assert not list((self.home / "stages" / "drafts").glob("*"))
        with sqlite3.connect(self.home / "mlflow.db") as database:
            statuses = Counter(s for (s,) in database.execute("select status from runs"))
        assert statuses["RUNNING"] == 0, statuses

    def check_registry(self):
        """The champion is that of the last record, and works."""
        folder = Home(self.home).decisions / MODEL
        champion = Tracker(Home(self.home)).champion(MODEL)
        assert not list(folder.glob("*.pending"))
        assert champion.number == decision_log.history(folder)[-1]["champion_version"]
        history = champion.served.path.with_name("history")
        known, golden = Companion.load(history), GoldenRequests.load(history / GOLDEN)
        model = TrainedModel.load(champion.served.path)
        asked = Queries(golden.user, golden.movie, golden.time, golden.time)
        given = model_scorer(model, known.log, known.catalogue)(asked)
        assert np.abs(given - golden.probability).max() < 1e-6

    def check_artefacts(self):
        """Each has its manifest and the files it names; no rating was lost."""
        for folder in (self.home / "stages").glob("*/*"):
            if folder.parent.name == "drafts" or not folder.is_dir():
                continue
            assert (folder / MANIFEST).exists(), folder
        (ratings,) = [
            json.loads((folder / MANIFEST).read_text(encoding="utf-8"))["summary"]
            for folder in (self.home / "stages" / "ratings").iterdir()
        ]
        counts = ratings["counts"]
        parts = ("examples", "superseded", "quarantined")
        assert counts["read"] == sum(counts[part] for part in parts)
        self.rows = self.rows or counts
        assert counts == self.rows


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    generator = np.random.default_rng(options.seed)
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "sim-kills"
        sizes = {"users": 300, "movies": 60, "ratings": 5600, "seed": 4, "single_share": 0.1}
        simulate(Simulation(**sizes, user_spread=0.5, movie_spread=0.5, taste_spread=3.0), data)
        home = Path(folder) / "home"
        home.mkdir()
        configure(Home(home))
        kit = Kit(home, data, generator)
        try:
            rounds(kit, options.kills)
        finally:
            kit.site.process.send_signal(signal.SIGINT)
            kit.site.process.wait(PATIENCE)


def rounds(kit, kills):
    for seed in (-2, -1):  # the first one compiles
        first = kit.retrain(1000 + seed)
        took = wait(lambda run=first: kit.site.state(run)["type"] in FINAL)
        assert kit.site.state(first)["type"] == "COMPLETED"
    found = defaultdict(list)
    names = list(TARGETS)
    for number in range(1, kills + 1):
        target = names[number % len(names)]
        run = kit.ask_for(number)
        delay = float(kit.generator.uniform(0, 1.1 * took))
        if target == "flow run":
            wait(lambda: processes(kit.site, "flow run"))
            delay *= 0.4  # of the time from asking to the end it works for about half
        time.sleep(delay)
        died = kill(kit.site, target)
        begun = time.monotonic()
        kit.mend(target)
        try:
            kit.check(number)
        except AssertionError as failure:
            report(found)
            raise AssertionError(f"round {number}, {target} after {delay:.1f} s") from failure
        state = kit.site.state(run)["name"]
        found[target].append((state, died, time.monotonic() - begun))
        sys.stderr.write(f"{number} {target} after {delay:.1f} s: {state}, {died} died\n")
    report(found)


def report(found):
    write = sys.stdout.write
    write(f"{'killed':16} {'rounds':>6} {'ended':>5}  {'s until well':>12}  how the run ended\n")
    for target, rounds_ in found.items():
        states = Counter(state for state, _, _ in rounds_)
        seconds = median(took for _, _, took in rounds_)
        ended = ", ".join(f"{count} {state}" for state, count in states.most_common())
        died = sum(1 for _, died, _ in rounds_ if died)
        write(f"{target:16} {len(rounds_):>6} {died:>5}  {seconds:>12.1f}  {ended}\n")


if __name__ == "__main__":
    os.environ.setdefault("PREFECT_LOGGING_LEVEL", "WARNING")
    main()
