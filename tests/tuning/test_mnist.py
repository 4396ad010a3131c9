"""The MNIST studies at their smallest scale: every table, every plot, and taking them up again."""

from tuning.mnist import study


def test_the_smoke_scale_writes_its_tables_and_plots(tmp_path, capsys):
    study(output=str(tmp_path / "mnist"), scale="smoke")
    written = sorted(each.name for each in (tmp_path / "mnist").iterdir())
    assert written == ["label_skew.png", "local_epochs.png", "runs", "stabilized.png", "tables.md"]
    first = (tmp_path / "mnist/tables.md").read_text()
    assert first.count("| FedAvg") == 6
    assert "by gradients and by weights" in capsys.readouterr().out

    study(output=str(tmp_path / "mnist"), scale="smoke")  # every run is there: read back
    assert (tmp_path / "mnist/tables.md").read_text() == first
