"""A cluster that asks for a token lets in who has it, and the doctor tells the others."""

from collections.abc import Iterator

import pytest

from raydl import Run
from raydl.cli.commands import doctor
from raydl.runtimes.actors.spec import Actors
from tests.clusters.head import head

TOKEN = "a" * 32


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with head({"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": TOKEN}) as started:
        yield started.address


def examined(address: str) -> list[doctor.Finding]:
    return list(doctor.cluster(Run(runtime=Actors(workers=1, address=address)), patience=120))


def test_who_has_the_token_is_let_in(address, monkeypatch):
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.setenv("RAY_AUTH_TOKEN", TOKEN)
    assert examined(address) == [("cluster", "ok", "1 node with 1 CPU, 0 GPU")]


@pytest.mark.parametrize("mode", ["disabled", "token"])
def test_who_has_none_or_another_is_not(mode, address, monkeypatch):
    monkeypatch.setenv("RAY_AUTH_MODE", mode)
    monkeypatch.setenv("RAY_AUTH_TOKEN", "b" * 32)
    monkeypatch.setenv("RAY_NUM_REDIS_GET_RETRIES", "2")  # that it tries to connect, not 20
    (finding,) = examined(address)
    assert finding.state == "fault"
    assert "RAY_AUTH_MODE=token" in finding.text
