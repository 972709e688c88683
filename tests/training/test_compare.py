"""The comparison: trains each net once, measures both forms, and says what was not the same for all."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from emostream.errors import ConfigError
from training.compare import Row, Variant, main, markdown_table, notes_on, read_configs
from training.config import TrainConfig, TransferConfig, load_config, save_config
from training.loop.checkpoint import load_checkpoint

CONFIGS = Path(__file__).parents[2] / "training" / "configs"


def tiny_settings(folder: Path, config: TrainConfig) -> list[str]:
    """Settings files of a compact net and a VGG that learn in seconds."""
    paths = []
    for architecture in ("compact", "vgg"):
        model = dataclasses.replace(config.model, architecture=architecture)
        paths.append(folder / f"{architecture}.yaml")
        save_config(dataclasses.replace(config, name=architecture, model=model), paths[-1])
    return [str(path) for path in paths]


@pytest.mark.slow
def test_trains_each_net_once_and_writes_one_table(
    tmp_path: Path, tiny_config: TrainConfig, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    arguments = ["--configs", *tiny_settings(tmp_path, tiny_config), "--out", str(out), "--epochs", "5", "--quiet"]
    assert main(arguments) == 0
    content = json.loads((out / "table.json").read_text(encoding="utf-8"))
    assert [row["name"] for row in content["rows"]] == ["compact", "vgg"]
    assert content["notes"] == []
    for row in content["rows"]:
        trained = load_checkpoint(out / row["name"] / "last.pt")
        assert row["epochs"] == trained.epoch == 5
        assert row["fp32"]["accuracy"] == pytest.approx(trained.metrics["accuracy"], abs=1e-6)
        assert row["fp32"]["ferplus_accuracy"] == pytest.approx(trained.metrics["ferplus_accuracy"], abs=1e-6)
        assert row["int8_agreement"] > 0.8
        assert row["int8"]["milliseconds_per_crop"] > 0
        assert row["num_crops"] == 70
    table = (out / "table.md").read_text(encoding="utf-8")
    assert table.splitlines()[2].startswith("| compact | 0.01 M | ")
    assert capsys.readouterr().out.endswith(table + "\n")

    written = {path: path.stat().st_mtime_ns for path in out.glob("*/last.pt")}
    assert main(arguments) == 0
    assert {path: path.stat().st_mtime_ns for path in out.glob("*/last.pt")} == written


def test_names_the_settings_that_are_not_the_same_for_all() -> None:
    one = TrainConfig(name="scratch")
    other = dataclasses.replace(one, name="imagenet", transfer=TransferConfig(pretrained="imagenet"))
    assert notes_on([one, other]) == ["transfer.pretrained differs: scratch none, imagenet imagenet"]
    assert notes_on([one, one]) == []


def test_two_runs_cannot_share_a_folder(tmp_path: Path) -> None:
    save_config(TrainConfig(name="same"), tmp_path / "a.yaml")
    with pytest.raises(ConfigError, match="'same'"):
        read_configs([tmp_path / "a.yaml", tmp_path / "a.yaml"], overrides=())


def test_overrides_reach_all_and_no_clock_ends_a_run(tmp_path: Path) -> None:
    save_config(load_config(None, overrides=("optim.time_budget_minutes=5",)), tmp_path / "a.yaml")
    (config,) = read_configs([tmp_path / "a.yaml"], overrides=("optim.epochs=4",))
    assert config.optim.epochs == 4
    assert config.optim.time_budget_minutes is None


def test_a_row_says_both_forms() -> None:
    exact = Variant(accuracy=0.7, ferplus_accuracy=0.8, milliseconds_per_crop=2.0, size_bytes=9)
    quantized = Variant(accuracy=0.69, ferplus_accuracy=0.79, milliseconds_per_crop=0.5, size_bytes=3)
    row = Row("net", 2_700_000, 101_000_000, 20, 9.4, exact, quantized, 0.991, 3589)
    table = markdown_table([row], ["seed differs: net 0, other 1"])
    wanted = "| net | 2.70 M | 101 M | 20 | 9 | 70.00 / 69.00 | 80.00 / 79.00 | 99.1 | 2.00 / 0.50 |"
    assert table.splitlines()[2] == wanted
    assert table.endswith("\n- seed differs: net 0, other 1\n")


@pytest.mark.parametrize("folder", ["compare", "transfer"])
def test_the_committed_comparisons_differ_only_in_what_they_compare(folder: str) -> None:
    configs = read_configs(sorted((CONFIGS / folder).glob("*.yaml")), overrides=())
    assert len(configs) >= 2
    assert all(note.startswith("transfer.") for note in notes_on(configs))


def test_mistakes_are_said_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--configs", str(tmp_path / "none.yaml"), "--out", str(tmp_path / "out")]) == 2
    assert capsys.readouterr().err.startswith(f"error: settings file {tmp_path / 'none.yaml'} cannot be read")
