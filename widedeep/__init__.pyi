# The public names and where they stand, read at run time by `__init__.py` and by type checkers.
from .data.dataset import DatasetSpec
from .data.dataset_file import load_spec
from .data.ingest import ingest
from .data.split import Split
from .data.tables import IngestedData, Interactions
from .evaluation.comparison import Evaluator
from .evaluation.explain import Explainer
from .evaluation.gate import GateConfig
from .evaluation.scoring import Predictions, model_scorer
from .features.attributes import FeatureTables
from .features.spec import FeatureSpec
from .features.training_data import TrainingData, cold_parts, warm_parts
from .inputs import InputError
from .model.fitting import TrainingRun
from .model.presets import Preset, get_preset
from .model.trained_model import TrainedModel
from .store import Artifact, ArtifactStore
from .workspace import Workspace

__all__ = [
    "Artifact",
    "ArtifactStore",
    "DatasetSpec",
    "Evaluator",
    "Explainer",
    "FeatureSpec",
    "FeatureTables",
    "GateConfig",
    "IngestedData",
    "InputError",
    "Interactions",
    "Predictions",
    "Preset",
    "Split",
    "TrainedModel",
    "TrainingData",
    "TrainingRun",
    "Workspace",
    "cold_parts",
    "get_preset",
    "ingest",
    "load_spec",
    "model_scorer",
    "warm_parts",
]
