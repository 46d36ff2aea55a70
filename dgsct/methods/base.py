"""The method's side of the seam: what a method declares before anything is imported, and what its models are.

A method gets a batch by names, gives outputs, gives losses, and turns outputs into the task's predictions. It knows no file
on disk. No torch here: the DAG and the command line read declarations.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol

from dgsct.errors import UsageError
from dgsct.settings.options import Options
from dgsct.settings.recipe import Recipe
from dgsct.settings.resources import Resources

if TYPE_CHECKING:
    from torch import Tensor, nn

    from dgsct.data.batch import Predictions
    from dgsct.settings.scales import Scale

Kind = Literal["trained", "frozen", "yardstick"]
Inputs = tuple[str, ...]


class Model(Protocol):
    """What `build(task, scale, options)` of a part's module returns: a `torch.nn.Module` with these.

    Encoders whose weights lie in files of their own are children of a module named `encoders`, by their names in
    `dgsct weights`.
    """

    def __call__(self, **inputs: "Tensor") -> Any:
        """The part's inputs, by the names of the batch -> what losses and predictions are made from."""

    def losses(self, output: Any, targets: Mapping[str, "Tensor"], epoch: int) -> "dict[str, Tensor]":
        """Loss terms by name, weights applied: the training loss is their sum. `epoch` counts from 0."""

    def predict(self, output: Any) -> "Predictions":
        """The task's predictions by name (`Task.predictions`)."""


class StartsFromAnother(Protocol):
    """A model whose part has parents."""

    def start_from(self, name: str, weights: "Mapping[str, Tensor]") -> None:
        """Take over the best weights of the parent of that name, by their keys; ValueError names one that does not fit."""


class Builds(Protocol):
    """A part's module."""

    def build(self, task: str, scale: "Scale", options: Options) -> "nn.Module":
        """The model with random weights; `scale` is the scale as the task has it (`Task.at`)."""


@dataclass(frozen=True)
class Parent:
    """Another run whose best weights a run starts from: same scale, protocol and seed.

    `options` are the overrides that the parent shares where the run has them.
    """

    name: str
    task: str
    method: str
    options: tuple[str, ...] = ()


@dataclass(frozen=True)
class Part:
    """How a method does one task.

    `module` builds its models. `options` are the switches that it has (none, if it names none), `own` a dataclass of
    those that it brings itself, `preset` values that it sets in place of the task's. `inputs` are what `forward` reads,
    `encoders` the files that it starts from, `sizes` the fields of a `Scale` that decide it, `recipes` how it is trained
    where that is not the task's own recipe, `parents` the runs that it starts from; inputs, kind and parents may depend on
    the options. `resources` are what its runs ask a machine for, where kind and task do not say it. `trainable` is the
    number of trainable parameters with default options, by scale (disk estimates).
    """

    module: str
    options: tuple[str, ...] = ()
    own: type | None = None
    preset: Mapping[str, Any] = field(default_factory=dict)
    inputs: Inputs | Callable[[Options], Inputs] = ()
    encoders: tuple[str, ...] = ()
    sizes: tuple[str, ...] = ()
    recipes: Mapping[str, Recipe] = field(default_factory=dict)
    kind: Kind | Callable[[Options], Kind] = "trained"
    parents: Callable[[Options], tuple[Parent, ...]] = lambda _: ()
    trainable: Mapping[str, int] = field(default_factory=dict)
    counted: bool = False  # whether `dgsct efficiency` can count its parameters and cost at full size
    resources: Resources = Resources()

    def inputs_of(self, options: Options) -> Inputs:
        """What `forward` reads in a run with these options."""
        return self.inputs(options) if callable(self.inputs) else self.inputs

    def kind_of(self, options: Options) -> Kind:
        """Whether such a run is trained, evaluated as it is, or no model at all."""
        return self.kind(options) if callable(self.kind) else self.kind


@dataclass(frozen=True)
class Method:
    """A method by name, with a part for each task that it does."""

    name: str
    summary: str
    parts: Mapping[str, Part]
    sees_test_labels: bool = False

    @property
    def tasks(self) -> tuple[str, ...]:
        """The tasks that it does."""
        return tuple(self.parts)

    @property
    def counted(self) -> bool:
        """Whether its part on AVE, the task of Table 6, can be counted at full size."""
        return "ave" in self.parts and self.parts["ave"].counted

    def on(self, task: str) -> Part:
        """Its part for a task; UsageError that lists its tasks."""
        if task not in self.parts:
            raise UsageError(f"method {self.name!r} does not run on task {task!r}; it runs on: {', '.join(self.parts)}")
        return self.parts[task]


def sound(options: Options) -> str:
    """Which prepared sound a method on HTS-AT reads: the log-mel that was made once at preparation, or the wave itself, where
    a run tiles seconds otherwise or trains the spectrogram's own weights.
    """
    prepared = options.audio_encoder == "frozen" and options.tile == type(options)().tile
    return "logmel" if prepared else "wave"


def frames_and_sound(options: Options) -> Inputs:
    """The inputs of a method on both encoders."""
    return ("frames", sound(options))
