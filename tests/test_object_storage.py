"""Runs in a bucket: a real S3 API on loopback, which can be told to refuse."""

import logging
import shutil
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import boto3
import pytest
import torch
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server

from raydl import Callback, Checkpointing, Model, Run, SpecError, run
from raydl.algorithms import FedAvg
from raydl.callbacks import Live
from raydl.data import Digits, Prepared, prepare
from raydl.data.prepared.verify import verify
from raydl.run_folder.checkpoint import newest
from raydl.runtimes.local.spec import Sequential
from raydl.storage import Folder
from tests.command import SMALL, done, raydl, refused


class Store:
    """The server, in front of which uploads can be refused.

    Attributes:
        refusals: how many of the next uploads are refused, as by a busy S3.
        refused: how many were.
    """

    def __init__(self) -> None:
        self._moto = DomainDispatcherApplication(create_backend_app)
        self.refusals = self.refused = 0

    def __call__(self, request: dict[str, Any], respond: Callable[..., Any]) -> Iterable[bytes]:
        if request["REQUEST_METHOD"] in ("PUT", "POST") and self.refusals:
            self.refusals -= 1
            self.refused += 1
            request["wsgi.input"].read(int(request.get("CONTENT_LENGTH") or 0))
            content = b"<Error><Code>SlowDown</Code><Message>Please slow down.</Message></Error>"
            headers = [("Content-Type", "application/xml"), ("Content-Length", str(len(content)))]
            respond("503 Slow Down", headers)
            return [content]
        return self._moto(request, respond)


@pytest.fixture(scope="module")
def served() -> Iterator[tuple[Store, int]]:
    store = Store()
    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # else a line for each request
    server = make_server("127.0.0.1", 0, store, threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield store, server.server_port
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def store(served, monkeypatch) -> Store:
    for name, value in {
        "AWS_ACCESS_KEY_ID": "somebody",
        "AWS_SECRET_ACCESS_KEY": "something",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }.items():
        monkeypatch.setenv(name, value)
    boto3.client("s3", endpoint_url=f"http://127.0.0.1:{served[1]}").create_bucket(Bucket="bucket")
    return served[0]


@pytest.fixture
def uri(served) -> Callable[[str], str]:
    """The URI of a folder, whose server is named as for any that is not Amazon's."""
    return lambda place: f"s3://{place}?scheme=http&endpoint_override=127.0.0.1:{served[1]}"


@pytest.fixture
def spec(store, uri, tmp_path) -> Run:
    return Run(
        algorithm=FedAvg(batch_size=16),
        model=Model("MLP", {"hidden": [16]}),
        runtime=Sequential(),
        clients=10,
        rounds=4,
        checkpoint=Checkpointing(every=1, keep=2),
        storage=uri(f"bucket/{tmp_path.name}"),
        name="a",
    )


@pytest.fixture(scope="module")
def fingerprint(tmp_path_factory) -> Callable[[Run], str]:
    """The fingerprint of a run that a folder of this machine holds."""
    return lambda spec: run(replace(spec, storage=str(tmp_path_factory.mktemp("runs")))).summary[
        "fingerprint"
    ]


class Uploads(Callback):
    """Refuses uploads from a round on."""

    def __init__(self, store: Store, after: int, refusals: int) -> None:
        self._store, self._after, self._refusals = store, after, refusals

    def on_round(self, row):
        if row["round"] == self._after:
            self._store.refusals = self._refusals


@pytest.mark.pictures
def test_a_run_in_a_bucket_and_its_resumption(spec, fingerprint):
    first = run(replace(spec, rounds=2))
    folder = Folder(first.path)
    assert folder.uri == spec.storage.replace("?", "/a?")
    assert [each for each in folder.names() if ".tfevents." not in each] == [
        *("best", "checkpoints", "curves.png", "metrics.csv", "metrics.parquet"),
        *("predictions.png", "run.yaml", "summary.json"),
    ]
    assert (folder / "checkpoints").names() == ["000001", "000002"]
    whole = run(spec, resume=True)
    assert whole.table["round"].tolist() == [1, 2, 3, 4]
    assert whole.summary["fingerprint"] == fingerprint(spec)
    assert (folder / "checkpoints").names() == ["000003", "000004"]


def test_an_upload_that_is_refused_is_tried_again(spec, store, fingerprint):
    before = store.refused
    history = run(spec, callback=Uploads(store, after=2, refusals=2))
    assert store.refused - before == 2
    assert history.summary["fingerprint"] == fingerprint(spec)


def test_a_run_whose_store_is_gone_resumes_when_it_is_back(spec, store, fingerprint):
    with pytest.raises(OSError, match="SLOW_DOWN"):
        run(spec, callback=Uploads(store, after=3, refusals=1_000))
    store.refusals = 0
    saved = newest(Folder(spec.storage) / "a")
    assert saved is not None
    assert saved.round == 3
    assert run(spec, resume=True).summary["fingerprint"] == fingerprint(spec)


def test_a_store_that_goes_away_is_told(spec, store, monkeypatch):
    """The command's third round is the last one that can be written down."""
    told = Live.on_round

    def on_round(self, row):
        told(self, row)
        Uploads(store, after=3, refusals=1_000).on_round(row)

    monkeypatch.setattr(Live, "on_round", on_round)
    ended = raydl("run", *SMALL, "--storage", spec.storage, "--name", "c", "--checkpoint.every", 1)
    store.refusals = 0
    assert ended.code == 1
    assert "SLOW_DOWN" in ended.err
    place, _, query = spec.storage.partition("?")
    assert ended.err.endswith(f"; go on with: raydl run --resume '{place}/c?{query}'\n")
    assert "Traceback" not in ended.err


def test_a_bucket_that_is_missing_is_named(store, uri):
    said = refused("run", *SMALL, "--storage", uri("no-such-bucket/runs"))
    assert "Bucket 'no-such-bucket' not found" in said
    assert "name another folder" in said


def test_the_command_finds_its_runs_there(spec, uri):
    done("run", *SMALL, "--rounds", 1, "--storage", spec.storage, "--name", "b")
    assert "no run.yaml in s3://bucket/none" in refused("show", uri("bucket/none"))
    assert "(1)" in done("show", "b", "--storage", spec.storage)
    assert "round 2/2" in done(
        "run", "--resume", f"{spec.storage.replace('?', '/b?')}", "--rounds", 2
    )


@pytest.fixture
def prepared(store, uri, tmp_path) -> Prepared:
    """The digits in shards in the bucket."""
    place = uri(f"bucket/{tmp_path.name}/digits")
    prepare(Digits(), place, 20_000)
    return Prepared(place, cache=str(tmp_path / "cache"))


def test_data_in_a_bucket_is_copied_once_and_mapped(spec, prepared, fingerprint, tmp_path):
    assert fingerprint(replace(spec, data=prepared)) == fingerprint(replace(spec, data=Digits()))
    (copied,) = (tmp_path / "cache").iterdir()
    shards = {file.name for file in copied.iterdir() if file.suffix == ".arrow"}
    folder = Folder(prepared.uri)
    assert shards == {name for name in folder.names() if name.endswith(".arrow")}
    for name in shards - {"train-00000.arrow"}:
        folder.remove(name)
    (copied / "train-00000.arrow").unlink()
    (copied / "train-00001.arrow.part").write_bytes(b"half")  # of a process that was killed
    assert torch.equal(prepared.load().train.inputs[:], Digits().load().train.inputs)


def test_a_copy_that_is_not_what_was_written_is_told(prepared, tmp_path):
    folder = Folder(prepared.uri)
    content = bytearray(folder.read("train-00000.arrow"))
    content[len(content) // 2] ^= 1
    folder.write("train-00000.arrow", bytes(content))
    with pytest.raises(SpecError, match=r"train-00000\.arrow is not what was written"):
        prepared.load()
    faults = [each.shard.file for each in verify(prepared.uri) if each.fault]
    assert faults == ["train-00000.arrow"]


def test_where_there_is_no_room_for_copies_it_is_told(prepared, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=1000))
    with pytest.raises(
        SpecError, match=r"copies of its shards need .* set data\.cache to a folder"
    ):
        prepared.load()
