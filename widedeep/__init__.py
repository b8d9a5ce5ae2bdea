"""Wide & Deep learning for recommender systems (Cheng et al. 2016, arXiv:1606.07792).

The names that `__init__.pyi` lists are the public face of the library; each is imported when it is
first used. The library knows neither the orchestrator (Prefect) nor the tracker (MLflow). Its wings
import in one direction: data → features → model → evaluation → {studies, retrieval → serving}.

From a folder with a `dataset.toml` to a trained model and its predictions of the holdout:

    store, spec = widedeep.ArtifactStore(Path("artefacts")), widedeep.load_spec(folder)
    data = widedeep.IngestedData(widedeep.ingest(folder, spec, store, now=int(time.time())))
    interactions = data.interactions()
    tables = widedeep.FeatureTables.from_side_tables(data.side_tables())
    split = widedeep.Split.from_times(interactions.time, data.last_time + 1)

    preset = widedeep.get_preset("default", spec)
    parts = widedeep.cold_parts(interactions, tables, split, preset.features, preset.sampling)
    run = widedeep.TrainingRun(widedeep.TrainingData.from_parts(parts), preset, None, seed=0)
    for epoch in run.epochs():
        print(epoch.epoch, epoch.validation_loss)
    model = run.trained_model()

    scorer = widedeep.model_scorer(model, interactions, tables)
    predictions = widedeep.Predictions.compute(interactions, split, scorer)
    print(predictions.measure()["streaming"]["auc"])
"""

from lazy_loader import attach_stub

__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)
