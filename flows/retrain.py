"""The chain: ingest → features → train → evaluate → promote."""

from datetime import datetime
from pathlib import Path
from typing import Literal

from prefect import flow
from prefect.runtime import flow_run

from flows.environment import default_home
from flows.report import Report, Stopwatch
from flows.run_name import run_name
from flows.stale_runs import marked
from flows.window import window
from tasks.dry_run import Stranger
from tasks.evaluation import evaluate
from tasks.features import features
from tasks.ingest import ingest
from tasks.job import Job, Request
from tasks.promotion import Candidate, passed, promote
from tasks.publishing import catch_up
from tasks.registry import Registry
from tasks.tracking import Tracker
from tasks.training import train
from tasks.tuned import named
from widedeep.artifact_store import Artifact
from widedeep.evaluation.promotion import GateConfig
from widedeep.home import Home
from widedeep.model.publication import Publication
from widedeep.model.start import Mode, Start


@flow(name="retrain", flow_run_name=run_name)
def retrain(  # noqa: PLR0917  the run form
    data: str = "auto",
    as_of: datetime | None = None,
    validation_from: datetime | None = None,
    holdout_from: datetime | None = None,
    mode: Literal["auto", "warm", "cold"] = "auto",
    publish: Literal["caught-up", "as-gated"] = "caught-up",
    preset: Literal["default", "paper", "tuned"] = "default",
    seed: int = 0,
    home: Path | None = None,
) -> Report:
    """Retrain on the ratings known at a moment, and promote the model if it is really better.

    Args:
        data: auto, kmrd-small, kmrd-2m, kmrd-5m, sim, or a folder with files in KMRD's form.
        as_of: Ratings from this moment on are not known yet. Empty: all ratings are.
        validation_from: Start of the validation part. Empty: chosen by share.
        holdout_from: Start of the holdout. Empty: the last tenth of the ratings.
        mode: Start from the champion (warm), from nothing (cold), or warm where it can (auto).
        publish: What serves after a promotion: the model that was judged once it has learned the
            holdout's ratings, too (caught-up), or as it was judged (as-gated).
        preset: Settings of features, network and training; tuned are those `tune` found best.
        seed: Of the initial weights and the order of the rows.
        home: The folder of all state. Empty: mlruns/ of the project.

    Returns:
        All that was found; `Report.as_json` is the contract's object.
    """
    place = Home(home.resolve()) if home else default_home()
    asked = window(as_of, validation_from, holdout_from)
    request = Request(data, asked, Mode(mode), preset, Publication(publish), seed)
    with place.exclusive(), marked(place, flow_run.id):
        place.stages.sweep()
        return _chain(place, request)


def _chain(place: Home, request: Request) -> Report:
    watch, gate = Stopwatch(), GateConfig()
    with watch.stage("ingest"):
        ingested = ingest(place, request.data, request.window)
    tracker = Tracker(place)
    champion = Registry(place, tracker, ingested.model).champion()
    preset = named(place, ingested.model, request.preset)
    start = Start.choose(request.mode, champion, ingested.split, preset)
    job = Job(place, ingested, preset, champion, start, request.seed)
    run = tracker.start(job, flow_run.id)
    with tracker.closing(run), tracker.observing(run):
        with watch.stage("features"):
            encoded = features(job)
        with watch.stage("train"):
            model = train(job, encoded)
        if model.id != start.model_id:
            tracker.log_training(run, model)
        with watch.stage("evaluate"):
            evaluation = evaluate(job, model, gate)
        with watch.stage("promote"), Stranger() as stranger:
            served = model
            if passed(evaluation):
                stranger.call()
                served = _published(job, request.publication, model)
            candidate = Candidate(model, served, evaluation)
            outcome = promote(job, run, candidate, gate, stranger)
        report = Report(job, run.run_id, evaluation, outcome, watch.seconds())
        tracker.log_seconds(run, report.seconds)
    return report


def _published(job: Job, publication: Publication, gated: Artifact) -> Artifact:
    return catch_up(job, gated) if publication is Publication.CAUGHT_UP else gated
