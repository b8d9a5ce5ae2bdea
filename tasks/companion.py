"""What a registered model carries beside its weights: the ratings known when it was made."""

from pathlib import Path

from tasks.ingest import Ingested
from widedeep.artifact_store import Artifact
from widedeep.evaluation.golden import GOLDEN, GoldenRequests
from widedeep.evaluation.scoring import model_scorer
from widedeep.features.companion import Companion
from widedeep.model.trained_model import TrainedModel


def save_companion(ingested: Ingested, served: Artifact, folder: Path) -> None:
    """Write ratings, movies and people into a new folder, and requests with their answers."""
    folder.mkdir()
    known = Companion.of(ingested.known(), ingested.movies(), ingested.people())
    known.save(folder)
    scorer = model_scorer(TrainedModel.load(served.path), known.log, known.catalogue)
    GoldenRequests.of(known.log, scorer).save(folder / GOLDEN)
