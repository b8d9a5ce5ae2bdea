"""The chain: ingest → features → train → evaluate → promote."""

from prefect import flow
from prefect.runtime import flow_run

from flows.environment import default_home
from flows.holding import holding, newest_only
from flows.report import Report, Stopwatch
from flows.run_form import Computing, DataSet, Gate, Moments, Training
from flows.run_name import run_name
from tasks.dry_run import Stranger
from tasks.evaluation import evaluate
from tasks.features import features
from tasks.ingest import ingest
from tasks.job import Job, Request
from tasks.promotion import Candidate, passed, promote
from tasks.publishing import catch_up
from tasks.registry import Registry
from tasks.run_page import show_data
from tasks.tracking import Tracker
from tasks.training import train
from tasks.tuned import named
from widedeep.artifact_store import Artifact
from widedeep.evaluation.promotion import GateConfig
from widedeep.home import Home
from widedeep.model.device import Device
from widedeep.model.placement import device_of
from widedeep.model.precision import Precision
from widedeep.model.publication import Publication
from widedeep.model.start import Mode, Start


@flow(name="retrain", flow_run_name=run_name)
@newest_only
def retrain(
    data: DataSet = DataSet(),
    moments: Moments = Moments(),
    training: Training = Training(),
    gate: Gate = Gate(),
    computing: Computing = Computing(),
) -> Report:
    """Retrain on the ratings known at a moment, and promote the model if it is really better.

    Args:
        data: Where the ratings come from.
        moments: What is known when.
        training: How the model is made.
        gate: What a promotion takes.
        computing: Where the work is done.

    Returns:
        All that was found; `Report.as_json` is the contract's object.
    """
    home = default_home()
    request = Request(
        data.text,
        moments.window,
        Mode(training.mode),
        training.preset,
        Publication(gate.publish),
        training.seed,
        Precision(training.precision),
        computing.config,
        Device(training.device),
    )
    with holding(home), request.engine.running(home):
        return _chain(home, request, gate.config)


def _chain(home: Home, request: Request, gate: GateConfig) -> Report:
    if not request.engine.on_ray:  # there it is the workers' devices that count
        device_of(request.device)
    watch = Stopwatch()
    with watch.stage("ingest"):
        ingested = ingest(home, request.data, request.window, request.engine)
    show_data(ingested)
    tracker = Tracker(home)
    champion = Registry(home, tracker, ingested.model).champion()
    asked = named(home, ingested.model, request.preset)
    preset = asked.multiplied_in(request.precision).trained_on(request.device)
    start = Start.choose(request.mode, champion, ingested.split, preset)
    job = Job(home, ingested, preset, champion, start, request.seed, request.engine)
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
