"""Options that only commands have; those of runs are declared in `tasks.run_form`."""

from pathlib import Path
from typing import Annotated, Self

from pydantic import BeforeValidator, Field, model_validator

from flows.environment import MLFLOW_PORT, PREFECT_PORT
from tasks.form import Form, Option
from tasks.run_form import AtLeastOne, DataSet
from widedeep import InputError
from widedeep.inputs import Moment, Precision

DATA = Option(metavar="auto|kmrd-small|kmrd-2m|kmrd-5m|sim|DIR")
_NAME = Option(metavar="NAME")
_MODEL = "The registered model; needed if the workspace has several."

Data = Annotated[
    DataSet,
    BeforeValidator(lambda text: DataSet.parse(text) if isinstance(text, str) else text),
    DATA,
    Field(
        description="A data set, or a folder of data: with a dataset.toml (see: widedeep describe) "
        "or in a form that is recognised. "
        f"{DataSet.model_fields['name'].description}"
    ),
]
Folder = Annotated[Path, Option("DIR"), Field(description="A folder of data.")]
Home = Annotated[
    Path | None,
    Field(description="The workspace: the folder of all state. Default: WIDEDEEP_HOME or mlruns/."),
]
Json = Annotated[
    bool, Option("--json"), Field(description="End with one JSON object on stdout's last line.")
]
Model = Annotated[str | None, _NAME, Field(description=_MODEL)]
Reason = Annotated[str, Field(description="A sentence for those who ask later.")]
Id = Annotated[str, Option(metavar="ID"), Field(min_length=1)]
"""A user's or an item's id, as it stands in the data."""
Port = Annotated[int, Field(ge=0, lt=1 << 16)]


class VersionChoice(Form):
    """A version of a registered model."""

    model: Annotated[str | None, _NAME] = Field(None, description=_MODEL)
    version: Annotated[str, Option(metavar="champion|N")] = Field(
        "champion", description="The version: its number or an alias."
    )


ALL = "all"
"""All users, or all items."""


def _all_as_none(value: object) -> object:
    return None if value == ALL else value


class RankRequest(Form):
    """The lists that `rank` is asked for.

    Raises:
        ValidationError: A count is out of range, or `out` is not a place for a Parquet file.
    """

    users: Annotated[str, Option("USERS", "USERS|all")] = Field(
        description="A .csv or .parquet file with a column user; all: every user in the data, and "
        "those since the last retrain in the feedback log."
    )
    out: Annotated[Path, Option(metavar="FILE.parquet")] = Field(
        description="The Parquet file to write."
    )
    k: AtLeastOne = Field(10, description="Items for each user.")
    candidates: Annotated[int | None, BeforeValidator(_all_as_none), Option(metavar="100|all")] = (
        Field(100, description="How many of the most promising items are ranked for each user.")
    )
    personalisation: Annotated[float, Option(metavar="SHARE")] = Field(
        0.0,
        ge=0,
        lt=1,
        allow_inf_nan=False,
        description="Which part of an item's appeal to a new user (its logit) does not count in "
        "the order. 0: by probability; .25 to .5: lists differ more, which has cost at "
        "most .01 of NDCG@10 over all users. A new user's list stays as it is.",
    )
    at: Moment | None = Field(
        None,
        description="Only interactions before this moment are known. Left out: all are known.",
    )
    precision: Precision = Field(
        Precision.FLOAT32,
        description="Number format of matrix products; float32: the probabilities of the "
        "registered model on any machine; auto: bfloat16 where the processor has it.",
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.candidates is not None and self.candidates < self.k:
            raise InputError(
                f"--candidates is {self.candidates}; expected at least as many as --k, {self.k}"
            )
        if self.out.suffix != ".parquet" or self.out.is_dir():
            raise InputError(f"--out is {self.out}; expected a file that ends in .parquet")
        if not self.out.parent.is_dir():
            raise InputError(f"--out is {self.out}; there is no folder {self.out.parent}")
        return self


class Listening(Form):
    """Where and how a server answers requests."""

    host: str = Field("127.0.0.1", description="The address to listen on.")
    port: Port = Field(8000, description="The TCP port to listen on; 0: any that is free.")
    rate_limit: float = Field(
        1000.0,
        gt=0,
        allow_inf_nan=False,
        description="Requests a second that one client may send in the long run.",
    )
    precision: Precision = Field(
        Precision.AUTO,
        description="Number format of matrix products; auto: bfloat16 where the processor has it.",
    )


class Servers(Form):
    """What `up` starts, besides the data set of the deployments."""

    cron: Annotated[str | None, Option(metavar="CRON")] = Field(
        None, description="When retrain/scheduled runs, in UTC. Default: Mondays at 4."
    )
    notify: Annotated[str | None, Option(metavar="BLOCK")] = Field(
        None,
        description="A Prefect block that reports failures and decisions, e.g. slack-webhook/team.",
    )
    prefect_port: Port = Field(PREFECT_PORT, description="The port of Prefect's server.")
    mlflow_port: Port = Field(MLFLOW_PORT, description="The port of MLflow's server.")


class SimulationSize(Form):
    """Sizes of simulated data; those that are left out are KMRD-small's."""

    like: Annotated[Path | None, Option(metavar="FILE|clicks")] = Field(
        None,
        description="A dataset.toml: the data have its form, with known effects of its features. "
        "clicks: that of an example, a log of clicks. Default: KMRD's form.",
    )
    positive_share: float | None = Field(
        None, description="About this part of the interactions is positive."
    )

    users: int | None = Field(None, description="Number of users.")
    items: int | None = Field(None, description="Number of items; not every one is rated.")
    ratings: int | None = Field(None, description="Number of interactions, repeated ones included.")
    seed: int | None = Field(None, description="Seed of everything that is random.")
