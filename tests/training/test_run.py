"""The chain as a whole: every stage leaves what the next one needs, and what is complete is not made again."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from app.bundle.loader import load_bundle
from app.bundle.manifest import parse_golden
from app.ort import Runtime
from tests.training.conftest import DEBUG, ROOT
from training.__main__ import main
from training.card_schema import Evaluation
from training.config import ConfigError
from training.run import STAGES, Run, StageMissingError, first_difference

pytestmark = pytest.mark.slow


def contents(folder: Path) -> dict[str, tuple[bytes, int]]:
    """Every file of a folder: its bytes and when it was written."""
    return {
        path.relative_to(folder).as_posix(): (path.read_bytes(), path.stat().st_mtime_ns)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture
def copy(debug_run: Run, tmp_path: Path) -> Run:
    """A copy of the debug run that the test may change."""
    shutil.copytree(debug_run.folder, tmp_path / "run")
    return Run(debug_run.config, tmp_path / "run", debug_run.name)


def arguments(stage: str, out: Path) -> list[str]:
    """The command line of a stage on the debug configuration."""
    return [stage, "--config", str(ROOT / DEBUG), "--out", str(out)]


def test_every_stage_is_complete(debug_run: Run) -> None:
    """One command made a bundle that the service loads, with a card, and noted how long each stage took."""
    assert all(debug_run.complete(stage) for stage in STAGES)
    assert list(json.loads((debug_run.folder / "times.json").read_text())) == list(STAGES)
    served = load_bundle(debug_run.path("export"), Runtime("cpu", 1))
    assert served.manifest.name == "kowairo-debug"
    assert "MODEL_CARD.md" in served.manifest.files
    assert served.manifest.metrics["uar_synthetic7_profile_0"] > 0


@pytest.mark.parametrize("stage", ["tokenizer", "pretrain", "finetune", "distil", "head"])
def test_checkpoints_are_tensors_and_json(debug_run: Run, stage: str) -> None:
    """Weights, state to resume from, a log and the resolved configuration; no pickles."""
    folder = debug_run.path(stage)
    assert {"model.safetensors", "config.json", "log.jsonl"} <= {path.name for path in folder.iterdir()}
    files = [path for path in folder.rglob("*") if path.is_file() and path.parent.name != "lessons"]
    endings = {path.suffix for path in files}
    assert endings <= {".safetensors", ".json", ".jsonl"}
    state = json.loads((folder / "state" / "state.json").read_text())
    assert state["step"] == getattr(debug_run.config, stage).loop.steps


def test_the_evaluation_accounts_for_everything(debug_run: Run) -> None:
    """Sizes, stages, corpora and figures of both variants, without noise conditions where there was no noise."""
    found = Evaluation.model_validate_json((debug_run.path("evaluate") / "evaluation.json").read_text())
    assert [row.name for row in found.corpora] == ["synthetic", "synthetic_av"]
    assert [row.name for row in found.stages] == [stage for stage in STAGES if stage != "evaluate"]
    assert {row.name for row in found.results if row.metric == "UAR"} == {"int8", "fp32"}
    conditions = {row.condition for row in found.results}
    assert {"clean", "loss_5pct", "calls_balanced", "calls_constant"} <= conditions
    assert not any("snr" in condition for condition in conditions)
    assert set(found.bundle.parameters) == {"tokenizer", "encoder", "head"}


def test_a_second_run_makes_nothing_anew(debug_run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    """Not one file is written, and the answer says that it was complete."""
    before = contents(debug_run.folder)
    assert main(arguments("run", debug_run.folder)) == 0
    assert contents(debug_run.folder) == before
    assert "complete already" in capsys.readouterr().out


def test_the_last_stages_made_again_are_the_same(copy: Run) -> None:
    """From calibration on, anew, in this process: the same thresholds, tokens, embeddings and figures."""
    old = {name: data for name, (data, _) in contents(copy.folder).items()}
    assert main([*arguments("calibrate", copy.folder), "--again"]) == 0
    assert not copy.complete("export")
    assert main(arguments("run", copy.folder)) == 0
    new = {name: data for name, (data, _) in contents(copy.folder).items()}
    assert set(new) == set(old)
    assert new["calibrate/calibration.json"] == old["calibrate/calibration.json"]
    for was, now in zip(
        parse_golden(old["bundle/golden.json"]), parse_golden(new["bundle/golden.json"]), strict=True
    ):
        assert was.tokens == now.tokens
        assert was.embedding == pytest.approx(now.embedding, abs=1e-4)
    was, now = (json.loads(f["evaluate/evaluation.json"])["results"] for f in (old, new))
    assert [row["value"] for row in was] == pytest.approx([row["value"] for row in now])


def test_time_is_that_of_what_was_kept(copy: Run) -> None:
    """A stage that is made again counts once: what it took before is forgotten with its output."""
    path = copy.folder / "times.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "calibrate": 1e6}))
    copy.execute(("calibrate",), again=True)
    times = json.loads(path.read_text())
    assert times["calibrate"] < 1e6
    assert "head" in times
    assert "export" not in times


def test_another_configuration_does_not_go_on_in_the_folder(copy: Run) -> None:
    """What was made with other values is not mixed with these: the first difference is named."""
    config = copy.config
    other = replace(config, finetune=replace(config.finetune, label_share=0.5))
    with pytest.raises(ConfigError, match=r"finetune\.label_share was 1\.0, is 0\.5.*--out, or --again"):
        Run(other, copy.folder, "x").execute(("evaluate",))
    shutil.rmtree(copy.path("finetune"))
    with pytest.raises(StageMissingError, match="evaluate needs what finetune writes"):
        Run(config, copy.folder, "x").execute(("evaluate",), again=True)


def test_a_checkpoint_of_another_size_is_refused(copy: Run, capsys: pytest.CaptureFixture[str]) -> None:
    """A run folder whose record of its configuration was lost still does not mix sizes: exit code 2, one line."""
    (copy.folder / "config.json").unlink()
    text = (ROOT / DEBUG).read_text().replace("hidden: 16", "hidden: 17")
    (copy.folder / "other.yaml").write_text(text)
    shutil.rmtree(copy.path("calibrate"))
    command = ["calibrate", "--config", str(copy.folder / "other.yaml"), "--out", str(copy.folder)]
    assert main(command) == 2
    message = capsys.readouterr().err.splitlines()[-1]
    assert message.startswith("error: ")
    assert "head/model.safetensors does not fit this configuration" in message


def test_differences_are_found_where_they_are() -> None:
    """Nested values, lists, and keys that only one of them has."""
    assert first_difference({"a": [1, 2]}, {"a": [1, 2], "b": 3}, "s") is None
    assert first_difference({"a": {"b": [1]}}, {"a": {"b": [2]}}, "s") == "s.a.b was [1], is [2]"
    assert first_difference(None, 1, "s") == "s was None, is 1"
