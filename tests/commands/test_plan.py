import json

import pytest

from raydl.communication.cost import message_bytes
from raydl.planning import Circumstances, Outline, of_outline
from raydl.planning.figure import plot
from tests.command import done


def planned(*options: object) -> dict:
    return json.loads(done("plan", *options, "--json"))


def test_how_many_clients_a_server_can_serve():
    exercise = ("--parameters", 85_098, "--down", 1e9, "--up", 1e8, "--within", 60)
    star = planned(*exercise)["star"]
    assert star["most_workers"] == 2_203
    assert star["most_workers_by_phase"] == {"down": 22_033, "up": 2_203}
    table = done("plan", *exercise, "--scheme", "star")
    assert "down 22,033, up 2,203" in table
    assert "server receiving" in table


def test_what_sending_a_model_costs():
    exercise = ("--parameters", 4_950_544, "--workers", 200, "--rounds", 1000, "--price", 0.03)
    assert round(planned(*exercise, "--scheme", "star")["star"]["price"], 2) == 110.65
    assert "110.65" in done("plan", *exercise, "--scheme", "star")


def test_decentralized_sgd_that_ends_with_an_all_reduce():
    exercise = ("--parameters", 1000, "--scheme", "gossip", "--workers", 128, "--degree", 8)
    gossip = planned(*exercise, "--rounds", 50, "--last", "all_to_all")["gossip"]
    assert gossip["messages"] == 67_456
    assert gossip["messages_per_round"] == 128 * 8


def test_the_table_of_a_steps_traffic():
    k, n, s = 4 * 62_006, 4, 2
    lenet = ("--model", "LeNet", "--shape", "[3,32,32]", "--classes", 10)
    table = planned(*lenet, "--workers", n, "--servers", s)
    assert table["all_to_all"]["bytes_up"] == k * n * (n - 1)
    assert table["star"]["bytes_worker_sends"] == k
    assert table["star"]["bytes_server_receives"] == k * n / s
    assert table["ring"]["bytes_worker_sends"] == 2 * k * (n - 1) / n
    assert table["tree"]["steps_per_round"] == 4
    assert table["ring"]["bytes_server_sends"] is None


def test_local_steps_make_fewer_rounds():
    steps = ("--parameters", 10, "--steps", 100, "--scheme", "star", "--step_seconds", 1)
    every, eighth = planned(*steps)["star"], planned(*steps, "--local_steps", 8)["star"]
    assert (every["rounds"], eighth["rounds"]) == (100, 13)
    assert eighth["bytes_up"] * 100 == every["bytes_up"] * 13
    assert every["seconds"] == pytest.approx(100, rel=1e-3)
    assert eighth["seconds"] == pytest.approx(100, rel=1e-3)


def test_compression_is_of_what_workers_send_and_not_of_sums():
    plain = planned("--parameters", 10_000, "--cohort", 4)
    for options, sent in (
        (("--bits", 8), 10_000),
        (("--density", 0.1), 1000 * 8),
        (("--bits", 4, "--density", 0.01), message_bytes(10_000, 4, 0.01)),
    ):
        small = planned("--parameters", 10_000, "--cohort", 4, *options)
        assert small["star"]["bytes_up"] == 4 * sent
        assert small["star"]["bytes_down"] == 4 * 40_000
        assert small["all_to_all"]["bytes_up"] == 4 * 3 * sent
        for scheme in ("tree", "ring"):
            assert small[scheme] == plain[scheme]
    half = planned("--parameters", 10_000, "--cohort", 4, "--dtype", "float16")
    assert all(2 * half[each]["bytes_up"] == plain[each]["bytes_up"] for each in plain)


def test_a_run_by_its_own_options():
    options = ("--algorithm", "LocalSGD", "--algorithm.workers", 3, "--epochs", 2, "--steps", 8)
    plan = planned(*options, "--up", 1e6, "--latency=0.1")["star"]
    assert plan["bottleneck"] == "server receiving"
    assert plan["messages"] == 6 * plan["rounds"]
    text = done("plan", *options)
    assert "LocalSGD on Digits, 4,810 parameters" in text


def test_help():
    text = done("plan", "--help")
    for part in ("usage: raydl plan", "--worker_up", "--parameters", "--within", "bit/s"):
        assert part in text


def test_a_figure_of_every_scheme(tmp_path):
    file = tmp_path / "plan.png"
    out = done("plan", "--parameters", 1000, "--workers", 20, "--price", 1, "--output", file)
    assert str(file) in out.replace("\n", "")
    assert file.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


def test_the_figures_curves_are_the_closed_forms():
    comparison = of_outline(Outline(parameters=1000, workers=20))
    circumstances = Circumstances(up=1e8, price=1.0)
    sent, seconds, price = plot(comparison, circumstances).axes
    for axes in (sent, seconds, price):
        *curves, mark = axes.get_lines()
        assert [each.get_label() for each in curves] == [
            *("star", "all to all", "tree", "ring", "gossip"),
        ]
        assert list(mark.get_xdata()) == [20, 20]
    ring = sent.get_lines()[3]
    assert list(ring.get_ydata()) == [2 * (n - 1) * 4000 for n in ring.get_xdata()]
    star = seconds.get_lines()[0]
    expected = [n * 4000 * 8 * (1 / 1e9 + 1 / 1e8) for n in star.get_xdata()]
    assert list(star.get_ydata()) == pytest.approx(expected)
    paid = price.get_lines()[0]
    assert list(paid.get_ydata()) == pytest.approx([n * 4000 / 2**30 for n in paid.get_xdata()])
    assert len(plot(comparison, Circumstances()).axes) == 2  # where nothing has a price
