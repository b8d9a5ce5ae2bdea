"""What a person or a schedule may ask of a flow: the fields of Prefect's run form.

The command line fills in the same models, so both ways to start a run take the same values.

How a run of any flow is called.
"""

from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from prefect.runtime import flow_run
from pydantic import BaseModel, ConfigDict, Field

from tasks.engine import Engine, EngineName
from tasks.ingest import SplitMoments
from widedeep.data.source import WORDS
from widedeep.evaluation.gate import GateConfig

_GATE = GateConfig()


class _Form(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class DataSet(_Form):
    """Where the ratings come from."""

    name: Literal["auto", "kmrd-small", "kmrd-2m", "kmrd-5m", "sim"] = Field(
        "auto",
        title="Data set",
        description="auto: a copy named by WIDEDEEP_DATA, else KMRD-small, downloaded if need be, "
        "else simulated ratings (which are never mixed with real ones).",
    )
    folder: str = Field(
        "",
        title="Or a folder",
        description="With files in KMRD's form; if given, it goes before the data set above.",
    )

    @classmethod
    def parse(cls, text: str) -> "DataSet":
        """From the command line: a word or a folder."""
        if text in WORDS:
            return cls.model_validate({"name": text})
        return cls(folder=text)

    @property
    def text(self) -> str:
        """What `--data` would say."""
        return self.folder.strip() or self.name


class Moments(_Form):
    """What is known when, in UTC; what is left out is chosen by the data."""

    as_of: datetime | None = Field(
        None,
        title="As of",
        description="Ratings from this moment on are not known yet. Left out: all ratings are.",
    )
    validation_from: datetime | None = Field(
        None,
        title="Validation from",
        description="Start of the part that stops the training. Left out: chosen by share.",
    )
    holdout_from: datetime | None = Field(
        None,
        title="Holdout from",
        description="Start of the part that judges. Left out: the last tenth of the ratings.",
    )

    @property
    def window(self) -> SplitMoments:
        """In UNIX seconds."""
        moments = (self.as_of, self.validation_from, self.holdout_from)
        return SplitMoments(*(seconds(moment) for moment in moments))


class Clock(_Form):
    """The simulated clock of a replay, in UTC."""

    begin: datetime | None = Field(
        None,
        title="Begin",
        description="Where the clock first stands. Left out: half of the ratings are known.",
    )
    end: datetime | None = Field(
        None,
        title="End",
        description="No period to be judged by ends later. Left out: after the last rating.",
    )
    every_days: int = Field(90, ge=1, title="Days between retrains")


class Training(_Form):
    """How the model is made."""

    mode: Literal["auto", "warm", "cold"] = Field(
        "auto",
        title="Start",
        description="From the champion (warm), from nothing (cold), or warm where that is possible "
        "and honest (auto).",
    )
    preset: Literal["default", "paper", "tuned"] = Field(
        "default",
        title="Settings",
        description="Of features, network and training; tuned are those `tune` found best.",
    )
    seed: int = Field(0, ge=0, title="Seed", description="Of initial weights and order of rows.")
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        "auto",
        title="Precision",
        description="Of the hidden layers in training; auto takes bfloat16 where it is faster.",
    )
    device: Literal["auto", "cpu", "cuda"] = Field(
        "auto", title="Device", description="Of training; auto takes a GPU where there is one."
    )


class Computing(_Form):
    """Where the work is done."""

    engine: Literal["local", "ray"] = Field(
        "local",
        title="Engine",
        description="This process (local), or Ray for more than one machine: the cluster named by "
        "RAY_ADDRESS, else one that is started here. Ray needs the extra [ray].",
    )
    workers: int = Field(
        2, ge=1, title="Workers", description="On Ray: processes that share the work."
    )

    @property
    def config(self) -> Engine:
        """The engine's own settings."""
        return Engine(EngineName(self.engine), self.workers)


class Gate(_Form):
    """What a promotion takes."""

    publish: Literal["caught-up", "as-gated"] = Field(
        "caught-up",
        title="What serves after a promotion",
        description="The model once it has learned the holdout's ratings, too (caught-up), or as "
        "it was judged (as-gated).",
    )
    confidence: float = Field(
        _GATE.confidence,
        ge=0.5,
        lt=1,
        title="Confidence",
        description="The interval of the AUC's difference must lie above 0 with this confidence.",
    )
    log_loss_margin: float = Field(
        _GATE.log_loss_margin,
        gt=0,
        title="Margin of log loss",
        description="Nats by which log loss may rise where AUC is better.",
    )
    ece_margin: float = Field(
        _GATE.ece_margin,
        gt=0,
        title="Margin of calibration",
        description="By how much the calibration error may rise.",
    )
    slice_margin: float = Field(
        _GATE.slice_margin,
        gt=0,
        title="Margin of slices",
        description="By how much AUC may fall for new or returning users, new or known films.",
    )
    coverage_margin: float = Field(
        _GATE.coverage_margin,
        gt=0,
        title="Margin of coverage",
        description="Share by which the number of films in top-10 lists may fall.",
    )
    minimum_rows: int = Field(
        _GATE.minimum_rows,
        ge=1,
        title="Least rows of the holdout",
        description="Below it nothing is promoted.",
    )

    @property
    def config(self) -> GateConfig:
        """The gate's own settings."""
        return GateConfig(**self.model_dump(exclude={"publish"}))


def seconds(moment: datetime | None) -> int | None:
    """UNIX seconds; a moment without a time zone is in UTC."""
    if moment is None:
        return None
    return int(moment.replace(tzinfo=moment.tzinfo or UTC).timestamp())


def run_name() -> str:
    """What it does, on which data, and as of when: `retrain kmrd-small as of 2018-10-01`."""
    given = flow_run.parameters
    data = Path(DataSet.model_validate(given["data"]).text).name
    as_of = Moments.model_validate(given.get("moments", {})).as_of
    known = f" as of {as_of:%Y-%m-%d}" if as_of else ""
    return f"{flow_run.flow_name} {data}{known}"
