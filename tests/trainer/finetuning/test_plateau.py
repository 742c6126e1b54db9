"""When the learning rate is reduced, and when training ends."""

from dataclasses import asdict

from trainer.finetuning.plateau import Patience, Plateau

PATIENCE = Patience(reduce_after=2, stop_after=4, factor=0.5, least_gain=0.01)


def after(*losses: float) -> Plateau:
    plateau = Plateau(rate=1.0)
    for loss in losses:
        plateau = plateau.after(loss, PATIENCE)
    return plateau


def test_the_network_as_it_came_is_epoch_0_and_the_first_to_beat() -> None:
    assert (after(2.0).epoch, after(2.0).best_epoch, after(2.0).has_gained) == (0, 0, True)
    assert after(2.0, 3.0).best_epoch == 0
    assert not after(2.0, 3.0).has_gained


def test_the_rate_stays_while_something_is_gained() -> None:
    assert after(2.0, 1.9, 1.8, 1.7, 1.6).rate == 1.0
    assert after(2.0, 2.1, 1.9, 2.0, 1.8).rate == 1.0  # one epoch without a gain is not yet a plateau


def test_the_rate_is_reduced_after_so_many_epochs_without_a_gain_and_again_after_as_many() -> None:
    assert [after(*losses).rate for losses in ((2, 2), (2, 2, 2), (2, 2, 2, 2), (2, 2, 2, 2, 2))] == [
        1.0,
        0.5,
        0.5,
        0.25,
    ]


def test_a_gain_too_small_to_matter_is_none() -> None:
    assert after(2.0, 1.995, 1.991).best_epoch == 0
    assert after(2.0, 1.995, 1.991).rate == 0.5


def test_it_ends_when_nothing_was_gained_for_long_and_not_before() -> None:
    assert not after(2.0, 1.5, 1.6, 1.6, 1.6).is_over(PATIENCE)
    assert after(2.0, 1.5, 1.6, 1.6, 1.6, 1.6).is_over(PATIENCE)


def test_it_comes_back_from_a_checkpoint_as_it_was() -> None:
    once = after(2.0, 1.5, 1.6)
    assert Plateau(**asdict(once)) == once
    assert once.after(1.6, PATIENCE) == after(2.0, 1.5, 1.6, 1.6)
