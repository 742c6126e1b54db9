"""The hardest false alarms and misses, to be seen and heard."""

from collections.abc import Sequence
from pathlib import Path

from trainer.judging.hardest import BEFORE_S
from trainer.judging.metrics import Metrics, Moment
from trainer.report.layout import Html, data_address, escaped, figure, paragraph, section
from trainer.report.plots import spectrogram


def hardest(metrics: Metrics, folder: Path) -> Html:
    """Both kinds; their excerpts are files in ``folder``. Raises OSError."""
    return Html(
        _list(
            "hardest-false-alarms",
            "The hardest false alarms",
            "Sounds without a shot that scored highest, at most two of one recording. From "
            f"{metrics.shipped.threshold:.3g} on they would have called rangers; those below are the next in line.",
            "No false alarm at any threshold.",
            metrics.false_alarms,
            folder,
        ).text
        + _list(
            "hardest-misses",
            "Shots that were missed, the clearest first",
            "At the threshold that ships, at most two of one recording. The score is the highest of the windows that "
            "hold the shot.",
            "No shot was missed at the threshold that ships.",
            metrics.misses,
            folder,
        ).text
    )


def _list(name: str, title: str, says: str, none: str, moments: Sequence[Moment], folder: Path) -> Html:
    if not moments:
        return section(name, title, [paragraph(none)])
    items = "\n".join(f"<li>{_card(moment, number, folder).text}</li>" for number, moment in enumerate(moments, 1))
    return section(name, title, [paragraph(says), Html(f'<ol class="moments">{items}</ol>')])


def _card(moment: Moment, number: int, folder: Path) -> Html:
    facts = [("score", f"{moment.score:.3f}"), ("at", f"{moment.onset_s:.2f} s")]
    if moment.snr_db is not None:
        facts.append(("at a ratio of", f"{moment.snr_db:g} dB"))
    if moment.distance_m is not None:
        facts.append(("away", f"{moment.distance_m:g} m"))
    facts += [("recording", moment.recording), ("sound", moment.sound)]
    listed = "".join(f"<div><dt>{name}</dt> <dd>{escaped(value)}</dd></div>" for name, value in facts)
    label = moment.label or "unnamed"
    heard = _heard(moment, label, folder).text if moment.excerpt else '<p class="quiet">Its sound was not kept.</p>'
    return Html(f'<article class="moment"><h3>{number}. {escaped(label)}</h3>{heard}<dl>{listed}</dl></article>')


def _heard(moment: Moment, label: str, folder: Path) -> Html:
    import soundfile

    assert moment.excerpt is not None
    path = folder / moment.excerpt
    samples, rate = soundfile.read(path, dtype="float32")
    # Cut at the sound's beginning, it has less before the onset.
    onset_s = min(BEFORE_S, moment.onset_s)
    image = data_address("image/png", spectrogram(samples, rate, onset_s))
    sound = data_address("audio/flac", path.read_bytes())
    says = f"Spectrogram of {label}, {len(samples) / rate:.1f} s; the event is marked at {onset_s:.1f} s."
    player = f'<audio controls preload="none" src="{sound}" aria-label="{escaped(f"Play {label}")}"></audio>'
    return Html(figure(image, says).text + player)
