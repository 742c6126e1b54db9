"""The whole of it: clips that may ship → bank → student → int8 backbone.

The student hears the training part only. On the validation part, which it does not know, thresholds can be set that
hold (`trainer.retraining.head`); so its file says which clips it has heard.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from converters.flatbuffer import GraphError
from edge.detection import audioset
from edge.detection.waveform_yamnet import read_labels
from trainer.data.catalogue import Catalogue
from trainer.data.clip import Clip
from trainer.data.labels import SHOT
from trainer.data.licences import split_by_licence
from trainer.data.split import part_of
from trainer.distillation.bank import BankPlan, make_bank
from trainer.distillation.export import backbone_of_network, parity
from trainer.distillation.mixes import Mixer
from trainer.distillation.training import Plan, Progress, teach
from trainer.distillation.voices import LEAST_CLIPS, shift_for, shifted, teacher_of_speech, with_speech

WINDOW_S = 0.96
CALIBRATION = 600
"""Patches that the ranges are found on."""


@dataclass(frozen=True)
class Request:
    data: Path
    yamnet: Path
    out: Path
    work: Path
    width: float
    hours: float
    minutes: float
    threads: int
    onward: Path | None = None


def distil(wanted: Request, say: Callable[[str], None]) -> str:
    """Write the backbone; returns a line about it.

    Raises GraphError, OSError; ValueError: nothing may be learned from; RuntimeError: a teaching process died.
    """
    teacher = wanted.yamnet.read_bytes()
    classes = list(read_labels(teacher, str(wanted.yamnet)))
    permitted = clips_to_ship(wanted.data, wanted.work, say)
    clips = [clip for clip in permitted if part_of(clip.recording) == "train"]
    speech = teacher_of_speech(wanted.yamnet)
    voices = with_speech(speech, [clip for clip in permitted if clip.label != SHOT])
    say(f"{len(clips)} clips to learn from; speech is heard in {len(voices)} of all")
    bank = make_bank(wanted.work, clips, BankPlan(), _every(200, "rendered", say), with_voices=voices)
    say(f"bank: {bank.hours:.1f} h of {len(bank.sounds)} sounds")
    plan = Plan(width=wanted.width, windows=round(wanted.hours * 3600 / WINDOW_S), minutes=wanted.minutes)
    folder = wanted.work / f"bank-{bank.digest}"

    def tell(so_far: Progress) -> None:
        losses = " ".join(f"{name} {loss:.3f}" for name, loss in so_far.losses.items())
        heard_h = so_far.windows * WINDOW_S / 3600
        say(f"{heard_h:6.1f} h of mixes in {so_far.seconds / 60:.0f} min: {losses}")

    out = wanted.work / f"student-{bank.digest}"
    student = teach(bank, folder, wanted.yamnet, plan, out, tell, wanted.threads, onward=wanted.onward)
    network = student.network()
    mixes = Mixer(bank, 77).draw(CALIBRATION + 200).patches
    content = backbone_of_network(network, classes, mixes[:CALIBRATION])
    row = classes.index(audioset.SPEECH)
    unheard = [clip for clip in voices if clip not in clips]
    judges = unheard if len(unheard) >= LEAST_CLIPS else voices
    shift = shift_for(content, speech, row, judges)
    say(f"voices: logits raised by {shift:.2f}, by {len(judges)} clips with speech, {len(unheard)} of them unheard")
    network = shifted(network, classes, shift)
    heard = [clip.sha256 for clip in clips]
    content = backbone_of_network(network, classes, mixes[:CALIBRATION], heard)
    found = parity(network, content, mixes[CALIBRATION:])
    if found.embedding_correlation < 0.97:
        raise GraphError(f"int8 keeps too little of the student: embeddings correlate by {found.embedding_correlation}")
    temporary = wanted.out.with_name(f".{wanted.out.name}.new")
    temporary.write_bytes(content)
    temporary.replace(wanted.out)
    return (
        f"{wanted.out}: width {wanted.width:g}, {len(content) / 1024:.0f} KiB; int8 against float: embeddings "
        f"correlate by {found.embedding_correlation:g}, classes by {found.class_correlation:g}"
    )


def clips_to_ship(data: Path, work: Path, say: Callable[[str], None]) -> list[Clip]:
    """Clips that a model that ships may learn from, none of the test part, by path. Raises ValueError, OSError."""
    from trainer.data.adding import add

    with Catalogue(work / "catalogue", begin=True) as catalogue:
        add(catalogue, data)
        known = catalogue.clips()
    allowed, refused = split_by_licence(known)
    clips = [clip for some in allowed.values() for clip in some if part_of(clip.recording) != "test"]
    if not clips:
        raise ValueError(f"nothing in {data} may be learned from for a model that ships ({len(refused)} refused)")
    say(f"{len(clips)} clips; {len(refused)} are refused by their licence, the test part is left out")
    return sorted(clips, key=lambda clip: clip.path)


def _every(step: int, what: str, say: Callable[[str], None]) -> Callable[[int, int], None]:
    def tell(done: int, total: int) -> None:
        if done % step == 0 or done == total:
            say(f"{what} {done} of {total}")

    return tell
