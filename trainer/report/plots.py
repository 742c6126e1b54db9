"""The plots of the report, as SVG, in colours that the colour-blind tell apart (Okabe and Ito, 2008).

The figures are small, for a phone's width: on a wide screen they stand side by side.
"""

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from trainer.judging.metrics import AtRate, Calibration, DetPoint, Metrics, Point

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BLUE, ORANGE, GREY = "#0072b2", "#d55e00", "#57606a"
SIZE_IN = (4.3, 3.3)
DET_TICKS = (0.00001, 0.0001, 0.001, 0.01, 0.05, 0.2, 0.5, 0.8, 0.95)


def recall_against_false_alarms(metrics: Metrics) -> bytes:
    """Recall over false alarms per hour, with the stated rates' intervals and the shipped threshold."""
    figure, axes = _empty("false alarms per hour of sounds without shots", "recall")
    hours = max(metrics.dataset.rated_hours, 1e-6)
    least = 0.5 / hours
    points = [(max(point.per_hour, least), point.recall) for point in metrics.curves.points]
    axes.step(*_columns(points), where="post", color=BLUE, linewidth=1.8, label="all thresholds")
    stated = metrics.at_rates
    at = [max(one.reached_per_hour, least) for one in stated]
    value = np.array([one.recalls.all.value for one in stated])
    axes.errorbar(
        at, value, yerr=_arms(stated), fmt="o", color=BLUE, capsize=3, markersize=4, label="stated rates, 90 %"
    )
    shipped = metrics.shipped
    mark = max(shipped.false_alarms.per_hour, least)
    axes.plot([mark], [shipped.recalls.all.value], "D", color=ORANGE, markersize=6, label="as it ships")
    if shipped.promised_per_hour is not None:
        axes.axvline(shipped.promised_per_hour, color=ORANGE, linestyle=":", linewidth=1.2, label="promised")
    axes.set_xscale("log")
    axes.set_xlim(least * 0.9, max(100.0, mark * 1.3))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.legend(loc="best", frameon=False, fontsize=8)
    return _svg(figure)


def precision_recall(points: Sequence[Point]) -> bytes:
    """Precision over recall of events."""
    figure, axes = _empty("recall", "precision")
    known = [(point.recall, point.precision) for point in points if point.precision is not None]
    axes.plot(*_columns(known), ".-", color=BLUE, linewidth=1.8, markersize=4)
    axes.set_xlim(0, 1.02)
    return _svg(figure)


def detection_error_tradeoff(points: Sequence[DetPoint]) -> bytes:
    """Misses over false alarms of single windows, on normal deviates (Martin et al., Eurospeech 1997)."""
    from scipy.special import ndtri

    figure, axes = _empty("windows without a shot that pass", "windows with a shot that do not")
    inside = [
        (float(ndtri(point.false_alarm)), float(ndtri(point.miss)))
        for point in points
        if 0 < point.false_alarm < 1 and 0 < point.miss < 1
    ]
    axes.plot(*_columns(inside), ".-", color=BLUE, linewidth=1.8, markersize=4)
    lowest = min((point.false_alarm for point in points if point.false_alarm > 0), default=0.001)
    across = [tick for tick in DET_TICKS if tick >= lowest / 3]
    up = [tick for tick in DET_TICKS if tick >= 0.01]
    axes.set_xticks(ndtri(across), [f"{100 * tick:g} %" for tick in across])
    axes.set_yticks(ndtri(up), [f"{100 * tick:g} %" for tick in up])
    axes.set_xlim(ndtri(across[0]), ndtri(0.97))
    axes.set_ylim(ndtri(0.008), ndtri(0.97))
    axes.tick_params(axis="x", rotation=45)
    return _svg(figure)


def reliability(calibration: Calibration) -> bytes:
    """Share of windows that hold a shot over their score; the area of a mark grows with the count's logarithm."""
    figure, axes = _empty("mean score of a window", "share that holds a shot")
    axes.plot([0, 1], [0, 1], color=GREY, linestyle="--", linewidth=1, label="if scores were shares")
    bins = calibration.bins
    scores, shares = [one.mean_score for one in bins], [one.share for one in bins]
    axes.plot(scores, shares, color=BLUE, linewidth=1.8)
    axes.scatter(scores, shares, s=[12 + 14 * np.log10(one.count) for one in bins], color=BLUE, label="as measured")
    axes.set_xlim(0, 1)
    axes.legend(loc="upper left", frameon=False, fontsize=8)
    return _svg(figure)


def spectrogram(samples: NDArray[np.float32], rate_hz: int, onset_s: float) -> bytes:
    """Of an excerpt (float32 [n]), as PNG; a mark above the onset. 55 dB are shown."""
    figure, axes = _empty("s", "kHz", (3.9, 1.9))
    size, step = 512, 128
    padded = np.pad(samples.astype(np.float64), (0, max(0, size - len(samples))))
    frames = np.lib.stride_tricks.sliding_window_view(padded, size)[::step] * np.hanning(size)
    power = np.square(np.abs(np.fft.rfft(frames, axis=1))).T
    level = 10 * np.log10(np.maximum(power, 1e-12))
    # A few loud cells, mostly wind, must not leave the rest in the dark.
    top = float(np.quantile(level, 0.997))
    seconds = len(padded) / rate_hz
    axes.imshow(
        level,
        origin="lower",
        aspect="auto",
        cmap="magma",
        vmin=top - 55,
        vmax=top,
        extent=(0, seconds, 0, rate_hz / 2000),
    )
    axes.plot([onset_s], [1.0], "v", color="black", markersize=8, clip_on=False, transform=axes.get_xaxis_transform())
    axes.set_ylim(0, rate_hz / 2000)
    axes.grid(visible=False)
    return _png(figure)


def _empty(across: str, up: str, size_in: tuple[float, float] = SIZE_IN) -> tuple["Figure", "Axes"]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=size_in, layout="constrained")
    axes = figure.add_subplot()
    axes.set_xlabel(across, fontsize=9)
    axes.set_ylabel(up, fontsize=9)
    axes.set_ylim(0, 1.02)
    axes.tick_params(labelsize=8)
    axes.grid(color="#e3e7ea", linewidth=0.7)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    return figure, axes


def _columns(pairs: Sequence[tuple[float, float]]) -> tuple[list[float], list[float]]:
    return [x for x, _ in pairs], [y for _, y in pairs]


def _arms(stated: Sequence[AtRate]) -> NDArray[np.float64]:
    every = [one.recalls.all for one in stated]
    return np.array([[one.value - one.low for one in every], [one.high - one.value for one in every]]).clip(0)


def _svg(figure: "Figure") -> bytes:
    import matplotlib

    out = io.BytesIO()
    # Without date and with a fixed salt, the same figures give the same bytes.
    with matplotlib.rc_context({"svg.hashsalt": "ecosight"}):
        figure.savefig(out, format="svg", metadata={"Date": None})
    return out.getvalue()


def _png(figure: "Figure") -> bytes:
    from PIL import Image

    out, small = io.BytesIO(), io.BytesIO()
    figure.savefig(out, format="png", dpi=130)
    Image.open(out).convert("RGB").quantize(96).save(small, format="PNG", optimize=True)
    return small.getvalue()
