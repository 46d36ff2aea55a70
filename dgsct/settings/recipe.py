"""How a model is trained, as data: what the engine does follows from these fields alone. No torch.

A protocol's switches (which split selects, the release's accumulation fault, precision) are options, not fields.
"""

from dataclasses import dataclass
from typing import Literal

from dgsct.settings.keys import later


@dataclass(frozen=True)
class Group:
    """Parameters whose name fits `match` (as file names do: `*`, `?`), with a rate or a weight decay of their own.

    An `optional` group may fit no parameter: an option of the run has left them out.
    """

    match: str
    lr: float | None = None
    weight_decay: float | None = None
    optional: bool = later(False, before=False)


@dataclass(frozen=True)
class Recipe:
    """The training of one method on one task at one scale.

    `lr_step` and `lr_gamma`: the rate is multiplied by `lr_gamma` every `lr_step` epochs (schedule `step`), at each of
    `milestones` (`multi-step`), after every epoch (`exponential`), or falls to zero over all epochs (`cosine`); with
    `lr_per=iteration` all of these count iterations. The first `warmup` epochs (or iterations) have the constant rate
    `warmup_lr`, behind which the schedule begins at its own zero. Groups take the same factors.
    `batch_size` counts clips (or questions); with `accumulate` n an update is made of the mean gradient of n batches.
    `order`: a new shuffle every epoch, or the split's own order; `drop_last` leaves out an incomplete last batch.
    `dtype`: what parameters and inputs are kept in, and hence losses and gradients.
    `select`: `best` takes the epoch with the best reported metric on the split that the option `selection` names, and
    stops after `patience` evaluations without a better one; `last` takes the last epoch. Epochs e = 0, 1, ... are evaluated
    where e modulo `evaluate_every` is `evaluate_offset` modulo the same (-1: at the end of each such stretch), and the last.
    `threads` are torch's, None for its own choice; `checkpoint_every` counts steps, None for once an epoch.
    """

    epochs: int
    patience: int
    batch_size: int
    lr: float
    lr_step: int = 1
    lr_gamma: float = 1.0
    threads: int | None = None
    checkpoint_every: int | None = None
    optimizer: Literal["adam", "sgd"] = later("adam", before="adam")
    momentum: float = later(0.0, before=0.0)
    weight_decay: float = later(0.0, before=0.0)
    groups: tuple[Group, ...] = later((), before=())
    schedule: Literal["step", "multi-step", "exponential", "cosine"] = later("step", before="step")
    milestones: tuple[int, ...] = later((), before=())
    lr_per: Literal["epoch", "iteration"] = later("epoch", before="epoch")
    warmup: int = later(0, before=0)
    warmup_lr: float = later(0.0, before=0.0)
    clip_norm: float | None = later(None, before=None)
    accumulate: int = later(1, before=1)
    order: Literal["shuffled", "file"] = later("shuffled", before="shuffled")
    drop_last: bool = later(False, before=False)
    dtype: Literal["float32", "float64"] = later("float32", before="float32")
    select: Literal["best", "last"] = later("best", before="best")
    evaluate_every: int = later(1, before=1)
    evaluate_offset: int = later(-1, before=-1)

    def steps(self, clips: int) -> int:
        """Batches of an epoch over `clips` clips."""
        whole, rest = divmod(clips, self.batch_size)
        return max(whole + bool(rest and not self.drop_last), 1)

    def evaluates(self, epoch: int) -> bool:
        """Whether epoch 0, 1, ... ends with an evaluation."""
        return epoch + 1 >= self.epochs or (epoch - self.evaluate_offset) % self.evaluate_every == 0
