"""A rendering's windows, embedded."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from converters.flatbuffer import GraphError
from converters.int8_network import float_network
from edge.audio.frontend import FrontEnd
from edge.detection.graph import Graph
from tests.converters.networks import random_network
from tests.trainer.data.sounds import sound, write
from tests.trainer.embedding.renders import in_pieces, made, narrow
from trainer.augmentation.mixing import Rendering
from trainer.embedding.backbone import HOP_S, backbone_of, prepared
from trainer.embedding.track import Tracker, file_as_it_is

TRACKER = Tracker(backbone_of(narrow()))


def test_a_track_holds_exactly_what_the_graph_gives_for_each_window() -> None:
    backbone = backbone_of(narrow())
    rendering = made(1, 3.0)
    track = TRACKER.track(rendering)
    graph = Graph(backbone.graph)
    windows = FrontEnd(16000, HOP_S).push(0, rendering.mixed)
    assert track.steps.shape == (len(windows), 256) == (9, backbone.width)
    assert track.seconds == 3.0 and track.backbone == backbone.identity
    assert len(np.unique(track.steps)) > 20, "a network that says always the same proves nothing"
    for row, window in enumerate(windows):
        graph.feed(window.patch[np.newaxis])
        np.testing.assert_array_equal(backbone.values(track.steps)[row], graph.output("embedding"))
        clean = rendering.clean[window.start : window.start + 15600]
        assert track.peak[row] == np.abs(clean[1280:14400]).max()
        assert track.rms[row] == pytest.approx(np.sqrt(np.mean(clean**2)))


@settings(max_examples=30)
@given(st.lists(st.integers(0, 5000), max_size=6))
def test_pieces_of_any_length_are_the_whole(lengths: list[int]) -> None:
    whole, pieces = TRACKER.track(made(2, 2.0)), TRACKER.track(in_pieces(2, 2.0, *lengths))
    np.testing.assert_array_equal(pieces.steps, whole.steps)
    np.testing.assert_array_equal(pieces.peak, whole.peak)
    np.testing.assert_allclose(pieces.rms, whole.rms, rtol=1e-6)
    assert pieces.seconds == whole.seconds


@pytest.mark.parametrize("samples", [0, 1, 15599, 15600])
def test_what_is_shorter_than_a_window_has_none(samples: int) -> None:
    waveform = sound(1)[:samples]
    track = TRACKER.track(Rendering(waveform, waveform))
    assert track.steps.shape == (samples // 15600, 256)
    assert track.steps.dtype == np.uint8 and track.peak.dtype == track.rms.dtype == np.float32


def test_mixed_and_clean_of_different_lengths_are_an_error() -> None:
    with pytest.raises(ValueError, match="16000 samples mixed and 15999 clean"):
        TRACKER.track(Rendering(sound(1, 1.0), sound(1, 1.0)[1:]))


def test_a_file_is_embedded_piece_by_piece(tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav", sound(1, 25.0), subtype="FLOAT")
    waveform = sound(1, 25.0)
    np.testing.assert_array_equal(
        TRACKER.track(file_as_it_is(path)).steps, TRACKER.track(Rendering(waveform, waveform)).steps
    )


def test_a_backbone_is_known_by_all_that_its_embeddings_depend_on() -> None:
    one, other = backbone_of(narrow()), backbone_of(narrow(seed=1))
    assert one.identity == backbone_of(narrow()).identity != other.identity
    assert one.width == 256 and one.scale == one.features[0].scale


def test_an_embedding_without_steps_is_refused() -> None:
    with pytest.raises(GraphError, match="the output embedding is not a dequantised int8 tensor"):
        prepared(float_network(random_network(0.25)))


@pytest.mark.data
def test_googles_yamnet_gives_1024_steps(yamnet: Path) -> None:
    backbone = backbone_of(yamnet.read_bytes())
    assert backbone.width == 1024
    assert backbone.scale == pytest.approx(0.02232835)
    assert backbone.features[0].zero == -128
    track = Tracker(backbone).track(made(1, 2.0))
    google = Graph(yamnet.read_bytes())
    google.feed(made(1, 2.0).mixed[:15600])
    rows = backbone_of(yamnet.read_bytes()).values(track.steps)
    assert rows.shape == (5, 1024) and rows.max() > 1
