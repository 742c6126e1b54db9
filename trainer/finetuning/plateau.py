"""When training gets nowhere: the learning rate is reduced, later it ends. Keras's callbacks of these names, as a value
that a checkpoint can keep, so that an interrupted run goes on as if it had not been."""

import math
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Patience:
    """How long to wait for a gain. Epochs."""

    reduce_after: int = 2
    stop_after: int = 6
    factor: float = 0.4
    """Of the learning rate, each time it is reduced."""
    least_gain: float = 0.002
    """A loss that is lower by less is no gain."""


@dataclass(frozen=True)
class Plateau:
    """What the validation part has said so far."""

    rate: float
    """Learning rate of the next epoch."""
    best_loss: float = math.inf
    best_epoch: int = -1
    epoch: int = -1
    """The last one; 0 is the network as it came."""
    waiting: int = 0
    """Epochs since the last gain or reduction."""

    def after(self, loss: float, patience: Patience) -> "Plateau":
        """When one more epoch has ended with this loss on the validation part."""
        epoch = self.epoch + 1
        if loss < self.best_loss - (patience.least_gain if self.epoch >= 0 else 0):
            return replace(self, best_loss=loss, best_epoch=epoch, epoch=epoch, waiting=0)
        if self.waiting + 1 >= patience.reduce_after:
            return replace(self, rate=self.rate * patience.factor, epoch=epoch, waiting=0)
        return replace(self, epoch=epoch, waiting=self.waiting + 1)

    def is_over(self, patience: Patience) -> bool:
        """Whether it has waited long enough."""
        return self.epoch - self.best_epoch >= patience.stop_after

    @property
    def has_gained(self) -> bool:
        """In the last epoch."""
        return self.epoch == self.best_epoch
