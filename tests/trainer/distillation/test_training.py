"""Teaching: a student begun at random, and taught on over another bank."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

from edge.audio.logmel import MEL_BANDS
from trainer.data.labels import SHOT
from trainer.distillation.bank import Bank, BankedSound, open_bank

torch = pytest.importorskip("torch", reason="the deep extra is not installed")


def made_bank(folder: Path, labels: tuple[str, ...]) -> Bank:
    """Noise, three seconds of each label."""
    folder.mkdir()
    frames = np.random.default_rng(1).normal(-3, 1, (300 * len(labels), MEL_BANDS)).astype(np.float16)
    frames.tofile(folder / "frames.f2")
    sounds = [BankedSound(label, 300 * n, 300 * n + 300, False, label) for n, label in enumerate(labels)]
    (folder / "sounds.json").write_text(json.dumps([asdict(one) for one in sounds]))
    return open_bank(folder)


def test_a_student_is_taught_on_over_sounds_of_other_labels(tmp_path: Path, yamnet: Path) -> None:
    from trainer.distillation.training import Plan, student_of, teach

    plan = Plan(width=0.25, windows=16, batch=8)
    first = made_bank(tmp_path / "first", (SHOT, "background", "dog_bark"))
    teach(first, tmp_path / "first", yamnet, plan, tmp_path / "one", lambda progress: None)
    second = made_bank(tmp_path / "second", (SHOT, "background", "dog_bark", "footsteps"))
    checkpoint = tmp_path / "one" / "checkpoint.npz"
    still = replace(plan, onward_rate=0.0, windows=8)
    teach(second, tmp_path / "second", yamnet, still, tmp_path / "two", lambda progress: None, onward=checkpoint)
    before, _ = student_of(checkpoint, plan)
    after, heard = student_of(tmp_path / "two" / "checkpoint.npz", plan)
    assert heard == 8
    for (name, old), new in zip(before.named_parameters(), after.parameters(), strict=True):
        assert torch.equal(old, new), name
    with pytest.raises(ValueError, match=r"checkpoint\.npz holds no student of this shape"):
        teach(
            second, tmp_path / "second", yamnet, replace(plan, width=0.5), tmp_path / "three", lambda progress: None,
            onward=checkpoint,
        )  # fmt: skip
