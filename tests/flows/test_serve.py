"""Which model is served, and at which address; errors are one line."""

import socket

import pytest

from flows.cli import main
from flows.serve import Address, model_to_serve
from widedeep.inputs import InputError
from widedeep.workspace import Workspace


@pytest.fixture
def workspace(tmp_path):
    return Workspace(tmp_path)


def decide(workspace, *models):
    for model in models:
        workspace.decision_log(model).record({"version": "1"})


def test_a_single_model_need_not_be_named(workspace):
    assert model_to_serve(workspace, None, None) is None, "the first that appears"
    decide(workspace, "widedeep-one")
    assert model_to_serve(workspace, None, None) == "widedeep-one"


def test_with_several_models_one_must_be_named(workspace):
    decide(workspace, "widedeep-one", "widedeep-two")
    with pytest.raises(InputError, match="name one by --model: widedeep-one, widedeep-two"):
        model_to_serve(workspace, None, None)
    assert model_to_serve(workspace, None, "widedeep-two") == "widedeep-two"
    with pytest.raises(
        InputError, match=r"no model 'widedeep-three'.*: widedeep-one, widedeep-two"
    ):
        model_to_serve(workspace, None, "widedeep-three")


def test_a_data_set_names_its_model_without_being_downloaded(workspace, tiny):
    assert model_to_serve(workspace, str(tiny), None) == "widedeep-sim-tiny"
    assert model_to_serve(workspace, "kmrd-5m", None) == "widedeep-kmrd-5m"
    assert model_to_serve(workspace, "sim", None) == "widedeep-sim"
    assert not [path for path in workspace.data.rglob("*") if path.name != ".sim.lock"]
    with pytest.raises(InputError, match="leave one out"):
        model_to_serve(workspace, "sim", "widedeep-sim")


def test_a_port_in_use_is_reported_in_one_line(workspace, capsys):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        assert main(["serve", "--home", str(workspace.root), "--port", str(port)]) == 1
    assert capsys.readouterr().err.splitlines() == [
        f"widedeep: cannot listen on 127.0.0.1 port {port}: Address already in use; try --port"
    ]


def test_an_address_may_be_ipv4_or_ipv6():
    for host in ("127.0.0.1", "::1"):
        with Address(host, 0).listen() as listener:
            assert listener.proto == socket.IPPROTO_TCP, "small answers are sent at once"


@pytest.mark.parametrize("option", [("--port", "70000"), ("--rate-limit", "0"), ("--port", "x")])
def test_options_out_of_range_are_refused(workspace, capsys, option):
    assert main(["serve", "--home", str(workspace.root), *option]) == 2
    assert option[0] in capsys.readouterr().err
