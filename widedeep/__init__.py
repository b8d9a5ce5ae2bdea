"""Wide & Deep learning for recommender systems (Cheng et al. 2016, arXiv:1606.07792).

The names that `__init__.pyi` lists are the public face of the library; each is imported when it is
first used. The library knows neither the orchestrator (Prefect) nor the tracker (MLflow). Its wings
import in one direction: data → features → model → evaluation → {studies, retrieval → serving}.

From a folder of rating files to a trained model and its predictions of the holdout:

    store = widedeep.ArtifactStore(Path("artefacts"))
    data = widedeep.IngestedData(widedeep.ingest(folder, store, now=int(time.time())))
    interactions = data.interactions()
    items = widedeep.ItemTable.from_table(data.items())
    split = widedeep.Split.from_times(interactions.time, data.last_time + 1)

    preset = widedeep.get_preset("default")
    parts = widedeep.cold_parts(interactions, items, split, preset.features, preset.sampling)
    run = widedeep.TrainingRun(widedeep.TrainingData.from_parts(parts), preset, None, seed=0)
    for epoch in run.epochs():
        print(epoch.epoch, epoch.validation_loss)
    model = run.trained_model()

    scorer = widedeep.model_scorer(model, interactions, items)
    history = preset.features.history
    predictions = widedeep.Predictions.compute(interactions, split, history, scorer)
    print(predictions.measure()["streaming"]["auc"])
"""

from lazy_loader import attach_stub

__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)
