"""What a registered model carries beside its weights: the ratings known when it was made."""

from pathlib import Path

import pyarrow.parquet as pq

from tasks.ingest import Ingested
from widedeep.artifact_store import Artifact
from widedeep.evaluation.golden import GOLDEN, GoldenRequests
from widedeep.evaluation.scoring import model_scorer
from widedeep.features.catalogue import Catalogue
from widedeep.model.trained_model import TrainedModel


def save_companion(ingested: Ingested, served: Artifact, folder: Path) -> None:
    """Write ratings, movies and people into a new folder, and requests with their answers."""
    folder.mkdir()
    log, movies = ingested.known(), ingested.movies()
    log.save(folder / "ratings.parquet")
    pq.write_table(movies, folder / "movies.parquet")
    pq.write_table(ingested.people(), folder / "people.parquet")
    scorer = model_scorer(TrainedModel.load(served.path), log, Catalogue.from_table(movies))
    GoldenRequests.of(log, scorer).save(folder / GOLDEN)
