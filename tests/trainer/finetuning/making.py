"""A handful of recordings of each part, and a network that is small enough to train in seconds."""

from itertools import count, islice
from pathlib import Path

import soundfile

from converters.backbone_file import pack_backbone
from converters.calibration import calibrate
from converters.int8_network import quantised
from converters.network import Network
from edge.detection import audioset
from tests.converters.networks import random_network, random_patches
from tests.trainer.retraining.making import RATE, made
from trainer.data.split import part_of
from trainer.distillation.bank import BankPlan

CLASSES = (*audioset.VOICES, "Rain", "Gunshot, gunfire")
BANKS = (
    BankPlan(of_clips=1, of_shots=2, of_synthetic=1, of_synthetic_shots=0, of_voices=0, synthetic_s=1.5),
    BankPlan(seed=2, of_clips=1, of_shots=2, of_synthetic=1, of_synthetic_shots=0, of_voices=0, synthetic_s=1.5),
)
IN_PARTS = {"train": 4, "validation": 2, "test": 1}


def recordings(folder: Path, labels: tuple[str, ...] = ("gun_shot", "rain", "background")) -> Path:
    """A folder for each class, with `IN_PARTS` recordings of each."""
    for label in labels:
        for part, number in IN_PARTS.items():
            names = (f"{label}-{part}-{n}" for n in count())
            for name in islice((name for name in names if part_of(name) == part), number):
                path = folder / "extracted_audio" / label / f"{name}.wav"
                path.parent.mkdir(parents=True, exist_ok=True)
                soundfile.write(path, made(label, name, 3.0 if label == "background" else 1.2), RATE)
                path.with_suffix(".json").write_text(f'{{"recording": "{name}"}}')
    return folder


def network(seed: int = 0) -> Network:
    """An eighth of YAMNet's width, random weights."""
    return random_network(0.125, len(CLASSES), seed)


def backbone(folder: Path, seed: int = 0) -> Path:
    made_of = network(seed)
    cut = quantised(made_of, calibrate(made_of, random_patches(16)), range(len(CLASSES)))
    path = folder / "backbone.tflite"
    path.write_bytes(pack_backbone(cut, CLASSES))
    return path
