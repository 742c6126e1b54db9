"""What both models did on the same sound decides."""

import numpy as np

from edge.audio.frontend import FrontEnd
from edge.detection.event import Timing
from edge.detection.model import load_bytes
from edge.detection.site import rules_of
from edge.settings import DetectionSettings
from edge.updates.model.judgement import Figures, Tally, objection
from tests.edge.updates.model.candidates import candidate
from trainer.synthesis.scene import ambience

RATE = 16_000


def figures(content: bytes, seconds: int, knocks: tuple[int, ...]) -> Figures:
    """What a model does with quiet forest in which something knocks, at these seconds."""
    sound = ambience(seconds, RATE, np.random.default_rng(7), level=0.001).astype(np.float32)
    random = np.random.default_rng(3)
    for at in knocks:
        sound[at * RATE : at * RATE + 2000] += 0.05 * random.standard_normal(2000).astype(np.float32)
    model, settings = load_bytes(content), DetectionSettings()
    tally = Tally(rules_of(model, settings), [0], Timing.of(settings, RATE, model.manifest.window_s))
    for window in FrontEnd(RATE, 0.24).push(0, sound):
        tally.observe(window.start, model.score(window).labels)
    return tally.figures()


def test_a_model_that_alarms_for_knocks_is_refused_and_the_one_that_does_not_stays() -> None:
    knocks = (15, 40, 65, 90, 115, 140)
    calm, nervous = candidate("1"), candidate("2", centre=-3.78, gain=12.0)
    usual, more = figures(calm, 160, knocks), figures(nervous, 160, knocks)
    assert usual.events == 0
    assert more.events >= 4
    assert more.hits / more.windows < 0.05
    assert f"would have alarmed {more.events:g} times; the current model 0 times" == objection(more, usual)
    assert objection(usual, more) == ""
    assert objection(figures(nervous, 40, (15,)), figures(calm, 40, (15,))) == ""  # one is no pattern


def test_a_night_of_shooting_is_no_reason_to_refuse_who_hears_it_as_well() -> None:
    both = Figures(windows=2500, hits=700, events=40, spread=0.9)
    assert objection(both, both.model_copy(update={"hits": 600, "events": 35})) == ""


def test_the_same_model_is_never_objected_to() -> None:
    same = Figures(windows=1000, hits=400, events=30, spread=0.9, inference_ms=2.0)
    assert objection(same, same) == ""


def test_a_window_that_takes_half_the_hop_is_too_slow_whatever_the_current_model_takes() -> None:
    assert "half of the hop" in objection(Figures(inference_ms=121.0), Figures(inference_ms=100.0))
    assert objection(Figures(inference_ms=119.0), Figures(inference_ms=100.0)) == ""
