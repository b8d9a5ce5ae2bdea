"""What a user may ask of a run: the settings of Prefect's run form and of the commands.

Every setting is declared here once, with its default, its range, its title and its description,
and the form objects are handed on to the tasks as they are. (`Engine` stands in `tasks.engine`,
with what an engine does, and `Gate` in `flows.retrain`, because the defaults of the gate need torch
to be imported.) An `Option` in a field's annotation says how the field is written on the command
line if that is not simply its own name.
"""

from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field

from tasks.form import Form, Option
from widedeep.inputs import DataSetName, Device, Moment, Precision, PresetName, Publish, StartMode

AtLeastOne = Annotated[int, Field(ge=1)]
Seed = Annotated[int, Field(ge=0)]
FixedPreset = Literal[PresetName.DEFAULT, PresetName.PAPER]
"""The presets that need no earlier search."""


def _without_unit(value: object) -> object:
    return value.removesuffix("d") if isinstance(value, str) else value


Days = Annotated[AtLeastOne, BeforeValidator(_without_unit)]
"""A number of days, on the command line as `90d` or `90`."""


class DataSet(Form):
    """The interactions that the run reads."""

    name: DataSetName = Field(
        DataSetName.AUTO,
        title="Data set",
        description="auto: the copy named by WIDEDEEP_DATA, else KMRD-small, downloaded if need "
        "be, else simulated interactions (which are never mixed with real ones).",
    )
    folder: str = Field(
        "",
        title="Or a folder",
        description="A folder with a dataset.toml, or of files in a form that widedeep describe "
        "recognises. If given, it is used instead of the data set above.",
    )

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the data set that is written as `text`: the name of one, or a folder."""
        if text in [*DataSetName]:
            return cls(name=DataSetName(text))
        return cls(folder=text)

    def __str__(self) -> str:
        """Return what is written after `--data`."""
        return self.folder.strip() or self.name


class Moments(Form):
    """What is known when, in UTC; a moment that is left out is chosen from the data."""

    as_of: Moment | None = Field(
        None,
        title="As of",
        description="Interactions from this moment on are not known yet. Left out: all are known.",
    )
    validation_from: Moment | None = Field(
        None,
        title="Validation from",
        description="Start of the part that decides when training stops. Left out: it has as many "
        "interactions as the holdout.",
    )
    holdout_from: Moment | None = Field(
        None,
        title="Holdout from",
        description="Start of the part on which models are compared. Left out: the last tenth of "
        "the interactions.",
    )


class Clock(Form):
    """The simulated clock of a replay, in UTC."""

    begin: Annotated[Moment | None, Option("--from")] = Field(
        None,
        title="Begin",
        description="The first moment of retraining. Left out: when half of the interactions "
        "are known.",
    )
    end: Annotated[Moment | None, Option("--to")] = Field(
        None,
        title="End",
        description="No period that is evaluated ends later. Left out: after the last interaction.",
    )
    every_days: Annotated[Days, Option("--every", "90d")] = Field(
        90, title="Days between retrains", description="Days from one retrain to the next."
    )


class Training(Form):
    """How the model of the run is trained."""

    mode: StartMode = Field(
        StartMode.AUTO,
        title="Start",
        description="warm: from the champion's weights; cold: from new weights; auto: warm where "
        "that is possible and the champion has not seen the holdout.",
    )
    preset: PresetName = Field(
        PresetName.DEFAULT,
        title="Settings",
        description="Settings of features, network and training; tuned: the best that `tune` "
        "found.",
    )
    seed: Seed = Field(
        0, title="Seed", description="Seed of the initial weights and of the order of the rows."
    )
    precision: Precision = Field(
        Precision.AUTO,
        title="Precision",
        description="Number format of the hidden layers in training; auto: bfloat16 where it is "
        "faster.",
    )
    device: Device = Field(
        Device.AUTO,
        title="Device",
        description="Where the model is trained; auto: on a GPU if there is one.",
    )


class Publication(Form):
    """What becomes of a challenger that passed the gate."""

    publish: Publish = Field(
        Publish.CAUGHT_UP,
        title="What serves after a promotion",
        description="caught-up: the model after it has also learned the holdout's interactions; "
        "as-gated: the very model that was evaluated.",
    )


class Ablation(Form):
    """Which models an ablation trains."""

    seeds: AtLeastOne = Field(3, description="How many times each variant is trained.")
    variants: Annotated[list[str] | None, Option(metavar="NAME")] = Field(
        None,
        description='Names of the variants to train, e.g. "wide only" "deep only"; all if left '
        "out.",
    )


class ReplayTraining(Form):
    """How the models of a replay are trained."""

    preset: FixedPreset = Field(
        PresetName.DEFAULT, description="Settings of features, network and training."
    )
    seed: Seed = Field(0, description="Seed of the initial weights and of the order of the rows.")


class Search(Form):
    """How long to search for better settings."""

    trials: AtLeastOne = Field(
        20, description="How many settings are tried in all; those of earlier searches count."
    )
    seed: Seed = Field(
        0, description="Seed of the search, of the initial weights and of the order of the rows."
    )
