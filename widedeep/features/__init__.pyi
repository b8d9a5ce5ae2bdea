# The names and where they stand, read at run time by `__init__.py` and by type checkers.
from .attributes import AttributeTable, FeatureTables
from .crosses import CrossVocabulary
from .encoded import EncodedRows, Examples, FeatureSupport
from .history import NUMERIC, ColumnSelection, HistoryColumns, HistoryConfig, Queries
from .quantiles import QuantileNormaliser
from .ragged import Ragged
from .raw_features import RawFeatures
from .sampling import RowSelection, Sampling
from .spec import Bag, Bucket, Category, Cross, FeatureSpec, Number
from .training_data import (
    FROZEN,
    PROTOCOLS,
    STREAMING,
    TrainingData,
    TrainingPart,
    cold_parts,
    queries_by_protocol,
    warm_parts,
)
from .transform import Transform
from .vocabulary import IndexedBag, Vocabulary
from .wide_ids import WideBlock, match_wide_ids, wide_blocks

__all__ = [
    "FROZEN",
    "NUMERIC",
    "PROTOCOLS",
    "STREAMING",
    "AttributeTable",
    "Bag",
    "Bucket",
    "Category",
    "ColumnSelection",
    "Cross",
    "CrossVocabulary",
    "EncodedRows",
    "Examples",
    "FeatureSpec",
    "FeatureSupport",
    "FeatureTables",
    "HistoryColumns",
    "HistoryConfig",
    "IndexedBag",
    "Number",
    "QuantileNormaliser",
    "Queries",
    "Ragged",
    "RawFeatures",
    "RowSelection",
    "Sampling",
    "TrainingData",
    "TrainingPart",
    "Transform",
    "Vocabulary",
    "WideBlock",
    "cold_parts",
    "match_wide_ids",
    "queries_by_protocol",
    "warm_parts",
    "wide_blocks",
]
