"""A mistake is told before any work: what was given, what is allowed, what to do; exit code 2."""

import shlex
from pathlib import Path

import pytest

from tests.command import SMALL, done, ended, refused, start

MISTAKES = {
    # unknown names, with the nearest match
    "runn": ("unknown command 'runn'", "did you mean 'run'?"),
    "data shwo": ("unknown command 'data shwo'", "did you mean 'data show'?"),
    "run --algorithm FedAgv": ("'FedAgv'", "did you mean 'FedAvg'?", "FedProx, FedSGD"),
    "run --data CIFAR1000": ("'CIFAR1000'", "did you mean 'CIFAR100'?", "Digits"),
    "run --partition Dirichle": ("'Dirichle'", "did you mean 'Dirichlet'?", "Shards"),
    "run --participation Unifrom": ("'Unifrom'", "did you mean 'Uniform'?", "Skewed"),
    "run --model LeNett": ("'LeNett'", "did you mean 'LeNet'?", "package.module:name"),
    "run --augmentation Crop": ("'Crop'", "did you mean 'CropFlip'?", "none"),
    "run --runtime actor": ("'actor'", "did you mean 'actors'?", "sequential"),
    "run --round 3": ("unknown field 'round'", "did you mean 'rounds'?", "checkpoint.every"),
    "run --algorithm.lrr 1": ("'algorithm.lrr'", "did you mean 'algorithm.lr'?"),
    "run --checkpoint 3": ("unknown field 'checkpoint'", "checkpoint.every, checkpoint.keep"),
    "run --runtime sequential --runtime.workers 2": ("'runtime.workers'", "runtime.threads"),
    "run --model.hidden [8]": ("model.hidden is an option of some model", "--model"),
    "run --data Digits surplus": ("unrecognized arguments: surplus", "raydl run --help"),
    # a value that is none of those allowed, or of the wrong type
    "run --precision fp16": ("precision is 'fp16'", "'float32' or 'bf16'"),
    "run --on_nonfinite skip": ("on_nonfinite is 'skip'", "'fail' or 'drop'"),
    "run --algorithm FedSGD --algorithm.send all": ("'all'", "'gradients' or 'weights'"),
    "run --rounds many": ("rounds is 'many'", "int"),
    "run --rounds 2.5": ("rounds is '2.5'", "int"),
    "run --rounds": ("--rounds", "expected one argument"),
    "run --algorithm": ("--algorithm needs a name", "FedProx, FedSGD"),
    "run --algorithm.batch_size few": ("algorithm.batch_size is 'few'", "int or null"),
    "run --model MLP --model.hidden 8": ("model.hidden is '8'", "Sequence"),
    "run --data Prepared": ("required: data.uri",),
    "run --data Parquet --data.uri file": ("data Parquet is called Prepared now",),
    "data prepare folder --ray": ("--ray decodes samples", "Digits has none to decode"),
    "data check": ("needs a folder: raydl data check URI",),
    "data check file --rounds 3": ("takes a folder alone, not --rounds 3",),
    "data check file": ("data.uri is 'file'", "has no dataset.json"),
    # out of range
    "run --participation.fraction 0": ("participation.fraction is 0.0", "in (0, 1]"),
    "run --participation.fraction 1.5": ("participation.fraction is 1.5", "in (0, 1]"),
    "run --clients 5000": ("clients is 5000", "1 to 1258, one sample for each"),
    "run --clients 0": ("clients is 0", "1 or larger"),
    "run --rounds 0": ("rounds is 0", "1 or larger"),
    "run --seed -1": ("seed is -1", "0 or larger"),
    "run --algorithm.lr 0": ("algorithm.lr is 0.0", "above 0"),
    "run --algorithm.lr -1": ("algorithm.lr is -1.0", "above 0"),
    "run --algorithm FedSGD --algorithm.lr 0": ("algorithm.lr is 0.0", "above 0"),
    "run --algorithm.server_lr 0": ("algorithm.server_lr is 0.0", "above 0"),
    "run --algorithm.batch_size 0": ("algorithm.batch_size is 0", "1 or larger"),
    "run --algorithm.epochs 0": ("algorithm.epochs is 0", "1 or larger"),
    "run --algorithm.momentum 1": ("momentum is 1.0", "[0, 1)"),
    "run --checkpoint.every 0": ("checkpoint.every is 0", "1 or larger"),
    "run --evaluation.every 0": ("evaluation.every is 0", "1 or larger"),
    "run --microbatch 0": ("microbatch is 0", "1 or larger"),
    "run --runtime.workers 0": ("runtime.workers is 0", "1 or larger"),
    "run --runtime.threads 0": ("runtime.threads is 0", "1 or larger"),
    "run --runtime batched --runtime.device abacus": ("runtime.device is 'abacus'", "'cpu'"),
    "run --partition Labels --partition.per_client 11": (
        "partition.per_client is 11",
        "at most 10, the number of classes",
    ),
    "run --data Synthetic --data.size 0": ("data.size is 0", "1 or larger"),
    # parts that do not fit each other
    "run --model LeNet": ("convolutions leave nothing of images of 8×8", "Softmax or MLP"),
    "run --model torch.nn:Identity": ("(2, 1, 8, 8)", "targets of shape (2,) they must be (2, 10)"),
    "run --model torch.nn:Linear --model.in_features 3 --model.out_features 10": (
        "model Linear cannot take the samples of Digits, of shape (1, 8, 8)",
    ),
    "run --model torch.nn:Linear --model.in_features 3 --model.out_features 0.5": (
        "model.out_features is '0.5'",
    ),
    "run --partition Natural": ("the data names no owners", "choose another partition"),
    "run --algorithm FedAdam --server_lr 0": ("algorithm.server_lr is 0.0", "above 0"),
    "run --algorithm FedNova --algorithm.mu 1 --momentum 0.9": ("FedNova", "set the other to 0"),
    "run --algorithm FedFade --algorithm.memory 2": ("algorithm.memory is 2.0", "in [0, 1]"),
    "run --algorithm StreamingDiLoCo --steps 10 --fragments 3": (
        "algorithm.steps is 10",
        "a multiple of the 3 fragments",
    ),
    # workers
    "run --algorithm LocalSGD --algorithm.workers 0": ("algorithm.workers is 0", "1 or larger"),
    "run --algorithm LocalSGD --workers 2": (
        (
            "--workers has two meanings: --algorithm.workers, number of workers (K), and "
            "--runtime.workers, actors; name one"
        ),
    ),
    "run --algorithm LocalSGD --interval QSR": ("algorithm.interval and", "--epochs"),
    "run --algorithm LocalSGD --clients 9": ("workers of its own", "set --algorithm.workers"),
    "run --algorithm DataParallel --workers 3 --batch_size 64": (
        "algorithm.batch_size is 64",
        "a multiple of the 3 workers",
    ),
    "run --algorithm DataParallel --hook topk": ("unknown algorithm.hook 'topk'", "PowerSGD"),
    "run --algorithm LocalSGD --steps 0": ("algorithm.steps is 0",),
    "run --algorithm LocalSGD --algorithm.workers 100 --epochs 1": (
        "one has 12 samples",
        "fewer workers",
    ),
    "run --runtime allreduce --runtime.gpus 1": ("0 GPU", "runtime.gpus"),
    # virtual time
    "run --runtime simulated --consistency StaleSynchronous --runtime.consistency.bound=-1": (
        "runtime.consistency.bound is -1",
        "0 or larger",
    ),
    "run --runtime simulated --runtime.consistency.backup 10": (
        "runtime.consistency.backup is 10",
        "smaller than the number of workers, 10",
    ),
    "run --runtime simulated --consistency Asynchronous --runtime.consistency.buffer 11": (
        "runtime.consistency.buffer is 11",
        "at most the number of workers, 10",
    ),
    "run --runtime simulated --consistency StaleSynchronous": (
        "of 100 clients only 10 take part at a time",
        "--participation.fraction 1",
    ),
    "run --runtime simulated --consistency Eventual": ("unknown runtime.consistency", "Allowed"),
    "run --runtime sequential --consistency Synchronous": (
        "sequential has no consistency; simulated, parameter_server have one",
    ),
    "run --runtime simulated --runtime.down 0": ("runtime.down is 0.0", "above 0 bit/s, or null"),
    "run --runtime simulated --runtime.up 0": ("runtime.up is 0.0", "above 0 bit/s, or null"),
    "run --runtime simulated --runtime.latency=-1": ("runtime.latency is -1.0", "0 or larger"),
    "run --runtime simulated --runtime.update_loss 1": (
        "runtime.update_loss is 1.0",
        "none ever comes",
    ),
    "run --runtime simulated --runtime.deadline 0": ("runtime.deadline is 0.0", "above 0, or null"),
    "run --runtime simulated --runtime.deadline 1 --consistency Asynchronous": (
        "only a synchronous step can wait in vain",
    ),
    "run --runtime simulated --runtime.partial true": ("needs a --runtime.deadline",),
    "run --runtime simulated --runtime.stragglers 2": ("runtime.stragglers is 2.0", "in [0, 1]"),
    "run --runtime simulated --runtime.slowdown 0.5": ("runtime.slowdown is 0.5", "1 or larger"),
    "run --runtime simulated --runtime.speed.seconds 0": ("runtime.speed.seconds is 0.0", "above"),
    "run --runtime simulated --speed Measured --runtime.speed.seconds [1,2]": (
        "holds 2 numbers",
        "each of the 100 workers or clients",
    ),
    "run --runtime simulated --runtime.replay missing": ("runtime.replay is 'missing'", "no such"),
    "run --runtime simulated --runtime.replay file": ("runtime.replay is 'file'", "is no trace"),
    "run --algorithm ParameterServer --runtime.replay missing": ("is 'missing'", "no such file"),
    "run --algorithm FedProx --algorithm.mu=-1": ("algorithm.mu is -1.0", "0 or larger"),
    "run --algorithm FedAsync --algorithm.mixing 0": ("algorithm.mixing is 0.0", "in (0, 1]"),
    # a parameter server
    "run --runtime parameter_server": ("FedAvg has clients that take turns", "ParameterServer"),
    "run --algorithm ParameterServer --workers 2 --runtime.shards 99999": (
        "runtime.shards is 99999",
        "at most the 4810 parameters",
    ),
    "run --algorithm ParameterServer --runtime.shards 0": ("runtime.shards is 0", "1 or larger"),
    "run --algorithm ParameterServer --optimizer LARS --runtime.shards 2": (
        "runtime.shards is 2",
        "as LARS and LAMB do",
    ),
    "run --algorithm ParameterServer --runtime.consistency.backup 4": (
        "runtime.consistency.backup is 4",
        "smaller than the number of workers, 4",
    ),
    "run --algorithm EASGD --runtime.consistency StaleSynchronous --runtime.consistency.bound -1": (
        "runtime.consistency.bound is -1",
        "0 or larger",
    ),
    "run --algorithm EASGD --runtime.consistency Eventual": (
        "unknown runtime.consistency 'Eventual'",
        "StaleSynchronous",
    ),
    # storage, names, files
    "run --storage file/runs": ("storage 'file/runs' cannot be written to", "another folder"),
    "run --storage nfs://host/runs": ("storage 'nfs://host/runs' cannot be opened", "s3://"),
    "run --storage s3://key:secret@bucket/runs": ("storage holds a password", "AWS_SECRET"),
    "run --storage null": ("storage is 'null'", "a path or a URI"),
    "run --storage ''": ("storage is ''", "a path or a URI"),
    "run --name a/b": ("name is 'a/b'", "a folder's name"),
    "run --resume nowhere": ("no run 'nowhere'", "no run.yaml in nowhere or runs/nowhere"),
    "run --resume": ("--resume needs a value",),
    "run --resume x --config y": ("exclude each other",),
    "run --config missing.yaml": ("'missing.yaml' cannot be read", "No such file"),
    "run --config list.yaml": ("list.yaml holds list", "a mapping of fields"),
    "run --config broken.yaml": ("broken.yaml is not YAML",),
    "run --config typo.yaml": ("'algorithm.lrr'", "did you mean 'algorithm.lr'?"),
    "run --config number.yaml": ("unknown algorithm '3'", "FedAvg"),
    "run --data Prepared --data.uri file": ("data.uri is 'file'", "prepare"),
    # plans
    "plan --algorithm FedAgv": ("'FedAgv'", "did you mean 'FedAvg'?"),
    "plan --parameters 0": ("parameters is 0", "1 or larger"),
    "plan --parameters 9 --workers 0": ("workers is 0", "1 or larger"),
    "plan --parameters 9 --scheme rng": ("unknown scheme 'rng'", "did you mean 'ring'?"),
    "plan --parameters 9 --last tre": ("unknown last 'tre'", "did you mean 'tree'?"),
    "plan --parameters 9 --cohort 9": ("cohort is 9", "from 1 to 8, the workers"),
    "plan --parameters 9 --servers 10": ("servers is 10", "from 1 to 9"),
    "plan --parameters 9 --degree 8": ("degree is 8.0", "from 0 to 7"),
    "plan --parameters 9 --rounds 2 --steps 3": ("steps is 3", "left out where rounds are given"),
    "plan --parameters 9 --dtype int8": ("dtype is 'int8'", "'bfloat16'"),
    "plan --parameters 9 --bits 0": ("bits is 0", "from 1 to 64"),
    "plan --parameters 9 --density 0": ("density is 0.0", "in (0, 1]"),
    "plan --parameters 9 --down 0": ("down is 0.0", "above 0, in bit/s"),
    "plan --parameters 9 --worker_up 0": ("worker_up is 0.0", "above 0, in bit/s"),
    "plan --parameters 9 --latency -1": ("latency is -1.0", "0 or larger"),
    "plan --parameters 9 --price -1": ("price is -1.0", "0 or larger"),
    "plan --parameters 9 --within 0": ("within is 0.0", "above 0"),
    "plan --parameters 9 --up fast": ("up is 'fast'", "float"),
    "plan --parameters 9 --algorithm FedAvg": ("plan in outline 'algorithm'", "parameters"),
    "plan --parameters 9 --worker 3": ("'worker'", "did you mean 'workers'?"),
    "plan --parameters 9 surplus": ("unrecognized arguments: surplus", "raydl plan --help"),
    "plan --scheme ring": ("either --parameters, or --model",),
    "plan --scheme ring --model LeNet": ("model is 'LeNet'", "--shape and --classes"),
    "plan --model LeNett --shape [3,32,32] --classes 10": ("'LeNett'", "did you mean 'LeNet'?"),
    "plan --parameters 9 --output plan.txt": ("output is 'plan.txt'", ".png"),
    "plan --parameters 9 --output none/plan.png": ("output is 'none/plan.png'", "that exists"),
    "plan --runtime allreduce": ("runtime.workers is None", "set --runtime.workers"),
    "plan --runtime allreduce --runtime.workers 1..4": ("runtime.workers is '1..4'", "a number"),
    "plan --algorithm DataParallel --hook PowerSGD --runtime.workers 2": (
        "algorithm.hook is PowerSGD",
        "such as Plain",
    ),
    "show": ("there is no run in 'runs'", "raydl show RUN"),
    "show --sort": ("--sort needs a value",),
    "plot": ("needs one run or more", "raydl plot RUN"),
    "plot nowhere": ("no run 'nowhere'",),
    "show nowhere": ("no run 'nowhere'",),
    "data show --output file/plots": ("--output 'file/plots'", "Not a directory"),
    "data prepare file/x": ("data.uri 'file/x' cannot be written to", "Cannot create directory"),
}


@pytest.fixture(autouse=True)
def workplace(tmp_path, monkeypatch) -> Path:
    for name, content in {
        "file": "",
        "list.yaml": "- rounds\n",
        "broken.yaml": "rounds: [1\n",
        "typo.yaml": "algorithm: {name: FedAvg, lrr: 1}\n",
        "number.yaml": "algorithm: 3\n",
    }.items():
        (tmp_path / name).write_text(content)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def left_behind(workplace: Path) -> list[str]:
    return sorted(each.name for each in workplace.glob("runs/*"))


@pytest.mark.parametrize(("command", "told"), MISTAKES.items(), ids=MISTAKES)
def test_a_mistake_is_told_before_any_work(command, told, workplace):
    before = set(workplace.iterdir())
    said = refused(*shlex.split(command))
    for part in told:
        assert part in said
    assert "Traceback" not in said
    assert left_behind(workplace) == []
    assert set(workplace.iterdir()) - before <= {workplace / "runs"}


def test_data_that_is_not_there_without_a_network(workplace, monkeypatch):
    for name in ("http_proxy", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    said = refused("run", "--data", "CIFAR10", "--data.root", "nothing", "--runtime", "sequential")
    for part in ("data.root is 'nothing'", f"{workplace}/nothing/cifar-10-batches-py", "Set data"):
        assert part in said
    assert left_behind(workplace) == []


def test_the_name_of_a_run_that_exists(workplace):
    done("run", *SMALL, "--name", "taken", "--rounds", 1)
    written = (workplace / "runs/taken/run.yaml").stat().st_mtime_ns
    said = refused("run", *SMALL, "--name", "taken", "--rounds", 1)
    assert "there is a run named 'taken' in 'runs' already" in said
    assert "raydl run --resume runs/taken" in said
    assert (workplace / "runs/taken/run.yaml").stat().st_mtime_ns == written


def test_more_workers_than_the_cluster_can_ever_hold(cluster, workplace):
    said = refused("run", "--runtime", "actors", "--runtime.workers", 5)
    assert "runtime.workers is 5, each reserving 1 CPU, but the cluster has 4 CPU" in said
    assert "for 4 workers at most; ask for fewer" in said
    assert left_behind(workplace) == []


def test_batched_batchnorm(workplace):
    (workplace / "normed.py").write_text(
        "from torch import nn\n"
        "def net(classes):\n"
        "    return nn.Sequential(nn.Flatten(), nn.BatchNorm1d(64), nn.Linear(64, classes))\n"
    )
    said = refused("run", "--runtime", "batched", "--model", "normed:net")
    assert "the model's 1 is a BatchNorm1d" in said
    assert "--runtime sequential" in said
    assert left_behind(workplace) == []


def test_as_a_process(workplace):
    stopped = ended(start("runn", cwd=workplace))
    assert (stopped.code, stopped.out) == (2, "")
    assert stopped.err == (
        "raydl: unknown command 'runn'; did you mean 'run'? "
        "Allowed: --help, data check, data prepare, data show, doctor, plan, plot, predict, run, "
        "show, study list, study run, sweep\n"
    )
