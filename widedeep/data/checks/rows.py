"""All rows of a data set, checked one by one as ingest does, without writing anything."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import inf
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from widedeep.data.dataset import DatasetSpec, Side
from widedeep.data.dataset_tables import TimeUnit
from widedeep.data.files import DataFile, open_tables
from widedeep.data.ids import Keys, TextIds
from widedeep.data.ingest import check_locally, locate_rows
from widedeep.data.reading.small_files import join_small_files, members, with_units
from widedeep.data.side_tables import AttributeRows, build_side_tables, check_side_files
from widedeep.data.validation import InteractionRules

_SAMPLE_ROWS = 200_000


@dataclass(frozen=True, slots=True)
class FileRows:
    """How many rows a file of interactions has, and how many of them are bad."""

    name: str
    rows: int
    bad: int


@dataclass(frozen=True)
class CheckedRows:
    """All rows of a data set.

    Attributes:
        spec: What they mean.
        files: Files of interactions.
        names: The names of the files of each other table.
        unused: Columns that the spec does not name, as `table.column`.
        side: The rows of the other tables.
        good: Good interactions, see `validation.InteractionRules`; `user` is unique without users.
        bad: Bad interactions, see `validation.QUARANTINE`.
        texts: Ids of interactions that are not integers: `key`, `id`.
        first: The first interactions as they stand in their file.
        unit: The unit in which their times are read.
    """

    spec: DatasetSpec
    files: Sequence[FileRows]
    names: Mapping[str, Sequence[str]]
    unused: Sequence[str]
    side: AttributeRows
    good: pa.Table
    bad: pa.Table
    texts: pa.Table
    first: pa.Table
    unit: TimeUnit

    @classmethod
    def read(cls, folder: Path, spec: DatasetSpec, now: int) -> "CheckedRows":
        """Read all files.

        Raises:
            InputError: A file cannot be read, or a table has no good row.
        """
        tables = open_tables(spec, folder)
        others = {name: files for name, files in tables.items() if name != "interactions"}
        interactions = tables["interactions"]
        side = check_side_files(spec, others)
        start = interactions[0]
        first = start.read(next(start.ranges())).columns
        files = [
            (alike, unit)
            for file in join_small_files(interactions)
            for alike, unit in with_units(file, spec)
        ]
        parts = [_check_file(file, side.interaction_rules(spec, now, unit)) for file, unit in files]
        good = pa.concat_tables([part[1] for part in parts])
        if spec.interactions.user is None:
            good = good.append_column("user", pa.array(-2 - np.arange(len(good))))
        return cls(
            spec,
            [file for part in parts for file in part[0]],
            {name: [file.path.name for file in opened] for name, opened in others.items()},
            [
                f"{name}.{column}"
                for name, opened in tables.items()
                for column in (opened[0].names if opened else ())
                if column not in spec.columns_of(name)
            ],
            side,
            good,
            pa.concat_tables([part[2] for part in parts]),
            pa.concat_tables([part[3] for part in parts]),
            first,
            files[0][1],
        )

    @property
    def rows(self) -> int:
        """Number of interactions, good or bad."""
        return sum(file.rows for file in self.files)

    @cached_property
    def ids(self) -> TextIds:
        """The texts of all ids that are not integers."""
        table = pa.concat_tables([self.side.texts, self.texts])
        table = table.group_by(["key", "id"]).aggregate([])
        return TextIds.from_table(table["key"].to_numpy(), table["id"].to_pylist())

    @cached_property
    def attributes(self) -> Mapping[Side, pa.Table]:
        """The attributes of items and of users, with their keys as `item` and `user`."""
        tables = build_side_tables(self.spec, self.side, self.good, self.texts)
        return {Side.ITEM: tables.items, Side.USER: tables.users}

    @cached_property
    def sample(self) -> pa.Table:
        """Some of the good interactions, in equal distances."""
        step = max(1, len(self.good) // _SAMPLE_ROWS)
        return self.good.take(pa.array(np.arange(0, len(self.good), step)))

    def show(self, keys: Keys) -> list[str]:
        """Return ids, (n,), as they stand in the data."""
        return [str(self.ids.text(key)) for key in keys.tolist()]

    def bad_of(self, table: str) -> pa.Table:
        """Return the bad rows of a table that is not the interactions."""
        bad = pa.concat_tables([*self.side.bad, self.bad.slice(0, 0)])
        return bad.filter(pc.is_in(bad["file"], pa.array(self.names[table], pa.string())))


def _check_file(
    file: DataFile, rules: InteractionRules
) -> tuple[list[FileRows], pa.Table, pa.Table, pa.Table]:
    """Return how many rows each file has, the good and the bad ones, and the ids that are text."""
    checks = [locate_rows(check, file, 0, inf) for check in check_locally(file, rules)]
    bad = pa.concat_tables([check.bad for check in checks])
    faulty = Counter(bad["file"].to_pylist())
    return (
        [FileRows(one.path.name, one.count_rows(), faulty[one.path.name]) for one in members(file)],
        pa.concat_tables([check.good for check in checks], promote_options="default"),
        bad,
        pa.concat_tables([check.texts for check in checks]),
    )
