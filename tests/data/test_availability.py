"""Availability: who is there when, by the day and by a trace."""

import numpy as np
import pandas as pd
import pytest

from raydl.core.errors import SpecError
from raydl.data import Daily, Intervals, Moment

HOUR = 3600.0
CLIENTS = 50


def chosen(spec, number, now=None, clients=CLIENTS, seed=1):
    selector = spec.selector(np.full(clients, 5), seed)
    moment = Moment(number, now)
    return selector.choose({}, moment), selector.opens({}, moment)


@pytest.mark.parametrize("hour", range(0, 48, 5))
def test_who_takes_part_is_there_by_their_own_clock(hour):
    """Without habits, a client of zone z is there where 22 ≤ hour + z < 30, modulo 24."""
    spec = Daily(0.2, spread=0.0)
    there = spec.presence(CLIENTS, 1).there(hour * HOUR)
    cohort, opens = chosen(spec, hour)
    assert there[cohort].all()
    assert opens == hour * HOUR
    assert len(np.unique(cohort)) == min(10, there.sum())
    assert np.array_equal(there, spec.presence(CLIENTS, 1).there((hour + 24) * HOUR))
    assert np.array_equal(cohort, chosen(spec, hour, now=hour * HOUR)[0])  # in virtual time, too


def test_in_one_zone_all_come_at_the_same_hour_and_the_round_waits_for_them():
    spec = Daily(0.2, zones=1, spread=0.0, start=22.0, hours=8.0)
    presence = spec.presence(CLIENTS, 0)
    hours = [hour for hour in range(24) if presence.there(hour * HOUR).all()]
    assert hours == [*range(6), 22, 23]
    assert not presence.there(7 * HOUR).any()
    cohort, opens = chosen(spec, 7)
    assert opens == pytest.approx(22 * HOUR)
    assert len(cohort) == 10


def test_always_there_everybody_is():
    there = Daily(hours=24).presence(CLIENTS, 0).there(12.3 * HOUR)
    assert there.all()


def test_a_third_of_the_clients_is_there_at_any_time():
    presence = Daily(hours=8).presence(10_000, 0)
    shares = [presence.there(hour * HOUR).mean() for hour in range(24)]
    assert np.allclose(shares, 1 / 3, atol=0.03)


@pytest.fixture(params=["csv", "parquet"])
def trace(request, tmp_path):
    rows = pd.DataFrame(
        {"device": [7, 3, 3, 9], "begin": [0.0, 10.0, 40.0, 20.5], "end": [5.0, 20.0, 60.0, 30.0]}
    )
    path = tmp_path / f"trace.{request.param}"
    (rows.to_csv if request.param == "csv" else rows.to_parquet)(path, index=False)
    return str(path)


@pytest.mark.parametrize(
    ("second", "expected"),
    [
        (0.0, [1, 4]),  # devices 3, 7, 9 are clients 0, 1, 2, and again 3, 4
        (5.0, []),
        (15.0, [0, 3]),
        (29.0, [2]),
        (30.0, []),
        (59.9, [0, 3]),
        (62.0, [1, 4]),  # the trace repeats after 60 seconds
    ],
)
def test_a_trace_says_who_is_there(trace, second, expected):
    there = Intervals(1.0, uri=trace).presence(5, 0).there(second)
    assert np.flatnonzero(there).tolist() == expected


@pytest.mark.parametrize(
    ("second", "opens", "expected"),
    [(5.0, 10.0, [0, 3]), (30.0, 40.0, [0, 3]), (65.0, 70.0, [0, 3]), (20.2, 20.5, [2])],
)
def test_where_nobody_is_there_the_next_is_waited_for(trace, second, opens, expected):
    cohort, begins = chosen(Intervals(1.0, uri=trace), 0, now=second, clients=5)
    assert begins == pytest.approx(opens, abs=1e-5)
    assert sorted(cohort) == expected


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("device,begin\n1,2\n", "unknown column of participation.uri 'end'"),
        ("device,begin,end\n1,5,5\n", "device 1 is there from 5 to 5 s"),
        ("device,begin,end\n1,-1,5\n", "from -1 to 5 s"),
        ("device,begin,end\na,1,5\n", "are to be numbers"),
    ],
)
def test_a_trace_that_cannot_be_is_told(tmp_path, content, told):
    (tmp_path / "bad.csv").write_text(content)
    with pytest.raises(SpecError, match=told):
        Intervals(uri=str(tmp_path / "bad.csv")).presence(3, 0)


@pytest.mark.parametrize(
    ("spec", "given"),
    [
        (Daily, {"hours": 0.0}),
        (Daily, {"start": 24.0}),
        (Daily, {"zones": 0}),
        (Daily, {"spread": -1.0}),
        (Daily, {"minutes": 0.0}),
        (Intervals, {"uri": ""}),
    ],
)
def test_values_out_of_range(spec, given):
    with pytest.raises(SpecError, match=f"participation.{next(iter(given))}"):
        spec(**given)
