"""What must be true of a home after any of its processes was killed; used by `kill_kit`."""

import csv
import sqlite3
from collections import Counter

import numpy as np
import pyarrow.parquet as pq

from tasks.model_store import ModelStore
from widedeep.evaluation.scoring import model_scorer
from widedeep.evaluation.snapshot import GOLDEN, DataSnapshot, GoldenRequests
from widedeep.features.history import Queries
from widedeep.model.trained_model import TrainedModel
from widedeep.store import Artifact
from widedeep.workspace import Workspace

KINDS = ("ratings", "features", "models", "evaluations")
DOING = ("ingest", "features", "train", "evaluate")


class Checks:
    """A home, the model in it, and the folder of ratings that its retrains read."""

    def __init__(self, root, model, data):
        self.workspace, self.model, self.data = Workspace(root), model, data
        self._whole = set()

    def serves(self):
        """The champion, be it the old or the new one, loads and answers as when it was made."""
        champion = ModelStore(self.workspace).champion(self.model)
        history = champion.served.path.with_name("history")
        known, golden = DataSnapshot.load(history), GoldenRequests.load(history / GOLDEN)
        model = TrainedModel.load(champion.served.path)
        asked = Queries(golden.user, golden.item, golden.time, golden.time)
        given = model_scorer(model, known.interactions, known.tables)(asked)
        assert np.abs(given - golden.probability).max() < 1e-6
        return champion.number

    def everything(self):
        """At rest, after the next retrain: nothing is half done, lost, held or running."""
        champion, log = self.serves(), self.workspace.decision_log(self.model)
        assert log.pending() is None, "a move of the champion is not finished"
        decisions = log.history()
        assert champion == decisions[-1]["champion_version"]
        self.artefacts_are_whole()
        self.versions_are_whole()
        self.rows_are_conserved(decisions)
        with self.workspace.exclusive(patience=5):
            assert not list((self.workspace.root / "running").iterdir())
            assert not list((self.workspace.stages.root / "drafts").glob("*"))
        with sqlite3.connect(self.workspace.root / "mlflow.db") as database:
            statuses = Counter(s for (s,) in database.execute("select status from runs"))
        assert statuses["RUNNING"] == 0, statuses

    def artefacts_are_whole(self):
        """Each has its manifest, and every file it names in its full size."""
        for folder in set(self.workspace.stages.root.glob("*/*")) - self._whole:
            if folder.parent.name != "drafts":
                Artifact.load(folder)
                self._whole.add(folder)

    def versions_are_whole(self):
        """Each registered one can be loaded, both the judged model and the one that serves."""
        store = ModelStore(self.workspace)
        for number in set(self.versions()) - self._whole:
            found = store.find(self.model, number)
            for stored in (found.gated, found.served):
                TrainedModel.load(stored.path)
            self._whole.add(number)

    def rows_are_conserved(self, decisions):
        """Every line of the files is an example, superseded, or set aside; none is there twice."""
        judged = [one["ratings"] for one in decisions if "ratings" in one]
        folder = self.workspace.stages.root / "ratings" / judged[-1]
        kept = ("ratings", "superseded", "quarantine")
        rows = sum(pq.read_metadata(folder / f"{name}.parquet").num_rows for name in kept)
        assert rows == self.lines()
        examples = pq.read_table(folder / "ratings.parquet", columns=["user", "item"])
        assert examples.group_by(["user", "item"]).aggregate([]).num_rows == examples.num_rows

    def lines(self):
        """Ratings in the files, counted by the csv module alone."""
        count = 0
        for path in self.data.glob("rates*.csv"):
            with path.open(encoding="utf-8", newline="") as file:
                count += sum(1 for _ in csv.reader(file)) - 1
        return count

    def versions(self):
        with sqlite3.connect(self.workspace.root / "mlflow.db") as database:
            return [str(v) for (v,) in database.execute("select version from model_versions")]

    def has_previous(self):
        """Whether there is a champion to go back to."""
        return ModelStore(self.workspace).previous(self.model) is not None

    def finished(self):
        """All finished artefacts and decisions, to tell later what a run has added."""
        found = set(self.workspace.stages.root.glob("*/*"))
        return found | set(self.workspace.decision_log(self.model).folder.glob("*.json"))

    def stage(self, before):
        """What the run was at that began when the home held `before`."""
        added = self.finished() - before
        kinds = {path.parent.name for path in added if path.is_dir()}
        if not list((self.workspace.root / "running").glob("*")):
            return "closed" if added else "starting"
        if [path for path in added if path.suffix == ".json"]:
            return "closing"
        for kind, doing in zip(KINDS, DOING, strict=True):
            if kind not in kinds:
                return doing
        return "promote"
