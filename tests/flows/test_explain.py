"""An explanation on the terminal."""

from dataclasses import replace

import pytest

from flows.explain import ExplainReport, show_explanation
from tasks.model_store import ModelStore
from tasks.registry import RegisteredModel
from widedeep.evaluation.explain import Explanation, FiredFeature
from widedeep.store import ModelVersion
from widedeep.workspace import Workspace

FIRED = FiredFeature("item", "item 알이씨 [REC]", "item [REC]", 0.25)
SILENT = FiredFeature("genres", "genres 공포", "genres 공포", 0.0)
EXPLANATION = Explanation(1, 2, 0, 0, -0.5, 0.25, (FIRED, SILENT), 0.75, 0.68)


@pytest.fixture
def workspace(tmp_path, make_workspace):
    return Workspace(make_workspace(tmp_path))


def explained(workspace, explanation=EXPLANATION):
    version = ModelVersion("3", "abc", workspace.root)
    registered = RegisteredModel(ModelStore(workspace), "widedeep-test", version)
    return ExplainReport(registered, "알이씨 [REC]", "[REC]", "rate >= 10", explanation)


def test_every_part_is_shown_and_adds_up(capsys, workspace):
    show_explanation(explained(workspace))
    out = capsys.readouterr().out
    rows = [line.split() for line in out.splitlines()]
    assert ["-0.5000", "bias"] in rows
    assert ["+0.2500", "prior", "logit", "the", "online", "model's", "expectation"] in rows
    assert ["+0.7500", "deep"] in rows
    assert ["+0.7500", "logit", "probability", "0.6800"] in [row[:4] for row in rows]
    assert "of a positive label (rate >= 10)" in out
    assert "widedeep-test version 3" in out
    assert "1970-01-01T00:00:00Z" in out


def test_brackets_in_a_title_are_no_markup(capsys, workspace):
    show_explanation(explained(workspace))
    out = capsys.readouterr().out
    assert "item 2: 알이씨 [REC] | [REC]" in out
    assert "item 알이씨 [REC] | item [REC]" in out


def test_features_without_a_weight_are_counted_only(capsys, workspace):
    show_explanation(explained(workspace))
    out = capsys.readouterr().out
    assert "공포" not in out
    assert "1 more wide features fired; their weight is 0" in out
    show_explanation(explained(workspace, replace(EXPLANATION, wide=(FIRED,))))
    assert "more wide features" not in capsys.readouterr().out
