"""Keys of runs: what a field more, another default, another size and a guest change, asked of an edited copy of the package."""

from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path

import pytest
from package_rig import ask, changed, copy_package, edit

from dgsct.methods import METHODS
from dgsct.methods.avsbench import AvsBenchOptions
from dgsct.methods.base import Method, Part
from dgsct.runs.resolve import option_names, options_class
from dgsct.runs.run import Run
from dgsct.settings.keys import BEFORE, described, later
from dgsct.settings.options import Options
from dgsct.settings.recipe import Group, Recipe
from dgsct.settings.scales import HeadSizes, HtsatSizes, PvtSizes, ResnetSizes, SwinSizes, VggishSizes
from dgsct.tasks import TASKS
from dgsct.tasks.ave.options import AveOptions
from dgsct.tasks.avs.options import AvsOptions, Ms3Options, S4Options

RUNS = [
    *(Run.make(t, m, scale=s) for s in ("mini", "paper") for m in METHODS for t in METHODS[m].tasks),
    Run.make("ave", "dg-sct", {"gamma": 0.3}),
    Run.make("avs-ms3", "dg-sct", {"alpha": 0.7}),
    Run.make("avs-ms3", "avs-pvt", {"start": "s4"}),
    Run.make("ave", "dg-sct", protocol="clean"),
]
ASK = f"""
from dgsct.runs.run import Run
asked = {[(run.folder.as_posix(), run.to_dict()) for run in RUNS]!r}
print(json.dumps({{name: Run.from_dict(run).plan_key() for name, run in asked}}))
"""


@pytest.fixture
def package(tmp_path, repository) -> Path:
    return copy_package(repository, tmp_path)


@pytest.fixture(scope="module")
def before(tmp_path_factory, repository) -> dict[str, str]:
    """The plan keys as the package is."""
    return ask(copy_package(repository, tmp_path_factory.mktemp("unedited")), ASK)


def those(condition: Callable[[Run], bool]) -> set[str]:
    return {run.folder.as_posix() for run in RUNS if condition(run)}


def has(option: str) -> Callable[[Run], bool]:
    return lambda run: option in option_names(run.task, run.method)


def test_the_copy_has_the_keys_of_the_package(before):
    assert before == {run.folder.as_posix(): run.plan_key() for run in RUNS}


# A field more, in a class that is part of descriptions: the text it follows, and which runs have it.
NEW_FIELDS = {
    "an option": ("settings/options.py", "    mixup: bool = False\n", has("S")),
    "an option of AVE": ("tasks/ave/options.py", '    accuracy: Accuracy = "batch8"\n', lambda run: run.task == "ave"),
    "an option of AVSBench": ("tasks/avs/options.py", "    av_weight: float = 0.0\n", lambda run: run.task != "ave"),
    "a field of the recipe": ("settings/recipe.py", "    checkpoint_every: int | None = None\n", lambda run: True),
    "a size of Swin": ("settings/scales.py", "    num_classes: int\n    drop_path: float = 0.1\n\n\n", None),
}
NAMED = {  # where methods, or tasks, must name it
    "an option": ("settings/options.py", 'ATTENTION = ("S", ', 'ATTENTION = ("novel", "S", '),
    "an option of AVE": ("tasks/ave/__init__.py", 'shared=("accuracy",)', 'shared=("accuracy", "novel")'),
    "an option of AVSBench": ("tasks/avs/__init__.py", 'shared=("f_protocol",)', 'shared=("f_protocol", "novel")'),
}


def add_field(package: Path, what: str, default: str) -> None:
    """Add `novel: int = later(default, before=1)`."""
    file, place, _ = NEW_FIELDS[what]
    path = package / file
    text = path.read_text(encoding="utf-8")
    assert place in text
    place = place.rstrip("\n")
    text = text.replace(place, f"{place}\n    novel: int = later({default}, before=1)", 1)
    if "import later" not in text:
        text = text.replace("from dataclasses", "from dgsct.settings.keys import later\nfrom dataclasses", 1)
    path.write_text(text, encoding="utf-8")
    if what in NAMED:
        edit(package / NAMED[what][0], *NAMED[what][1:])


@pytest.mark.parametrize("what", NEW_FIELDS)
def test_a_field_that_is_added_later_changes_no_key(package, before, what):
    add_field(package, what, "1")
    assert changed(before, ask(package, ASK)) == set()


@pytest.mark.parametrize("what", NEW_FIELDS)
def test_unless_its_default_is_something_new(package, before, what):
    """... then the keys of all runs that have it change."""
    add_field(package, what, "2")
    has_it = NEW_FIELDS[what][2] or (lambda run: "swin" in run.part.sizes)
    assert changed(before, ask(package, ASK)) == those(has_it)


def overridden(run: Run, option: str) -> bool:
    return option in dict(run.overrides)


PAPER, MINI = (lambda run: run.scale == "paper"), (lambda run: run.scale == "mini")
# An edit of one default, and the runs that relied on it.
DEFAULTS: dict[str, tuple[str, str, str, Callable[[Run], bool]]] = {
    "a founding option, which S4 sets itself": (
        "settings/options.py", "    gamma: float = 0.1\n", "    gamma: float = 0.2\n",
        lambda run: has("gamma")(run) and run.task != "avs-s4" and not overridden(run, "gamma"),
    ),
    "a founding option that nobody sets": (
        "settings/options.py", "    T: bool = True\n", "    T: bool = False\n", has("T"),
    ),
    "an option that the ledger decides": (
        "settings/options.py", '    residual: Residual = "release"\n', '    residual: Residual = "paper"\n', lambda run: False,
    ),
    "an option of MS3": (
        "tasks/avs/options.py", "    alpha: float = 0.2\n", "    alpha: float = 0.25\n",
        lambda run: has("alpha")(run) and run.task == "avs-ms3" and not overridden(run, "alpha"),
    ),
    "an option of a method that came later": (
        "methods/avsbench/__init__.py", 'later("encoders", before="encoders")', 'later("s4", before="encoders")',
        lambda run: has("start")(run) and not overridden(run, "start"),
    ),
    "a founding field of the recipe": (
        "settings/recipe.py", "    lr_gamma: float = 1.0\n", "    lr_gamma: float = 0.9\n",
        lambda run: run.recipe.lr_gamma == 1.0,
    ),
    "a field of the recipe that came later": (
        "settings/recipe.py", "evaluate_every: int = later(1, before=1)", "evaluate_every: int = later(2, before=1)",
        lambda run: run.recipe.evaluate_every == 1,
    ),
    "a size that mini sets itself": (
        "settings/scales.py", "    time_stripe: int = 64\n", "    time_stripe: int = 32\n",
        lambda run: PAPER(run) and "htsat" in run.part.sizes,
    ),
    "PVT at mini scale": (
        "settings/scales.py", "    pvt=PvtSizes((16, 24, 40, 64), (1, 2, 5, 8), (1, 1, 2, 1)),",
        "    pvt=PvtSizes((16, 24, 40, 64), (1, 2, 5, 8), (1, 1, 3, 1)),",
        lambda run: MINI(run) and run.task != "ave" and run.method in ("dg-sct", "lavish-star", "avs-pvt"),
    ),
    "a task's recipe": (
        "tasks/ave/__init__.py", "epochs=50, patience=20", "epochs=51, patience=20",
        lambda run: run.task == "ave" and PAPER(run) and "paper" not in run.part.recipes,
    ),
    "a task's size": (
        "tasks/avs/__init__.py", 'sets={"reduction": 2}', 'sets={"reduction": 3}',
        lambda run: run.task == "avs-ms3" and "reduction" in run.part.sizes,
    ),
    "a task's classes": (
        "tasks/ave/__init__.py", "scale: len(names) for", 'scale: len(names) + (scale == "mini") for',
        lambda run: run.task == "ave" and MINI(run),
    ),
    "a preset": (
        "methods/dg_sct/__init__.py", '_OFF = {"S": False, "C": False, "T": False}', '_OFF = {"S": False, "C": False}',
        lambda run: run.method == "lavish-star",
    ),
    "what a ledger entry picks": (
        "methods/dg_sct/ledger.py", 'option="freeze_mode", values=pick("train", "eval", "eval")',
        'option="freeze_mode", values=pick("eval", "eval", "eval")',
        lambda run: run.task == "ave" and run.protocol == "release" and has("freeze_mode")(run),
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", DEFAULTS)
def test_a_changed_default_changes_the_keys_of_the_runs_that_relied_on_it_and_no_other(package, before, what):
    file, old, new, relied = DEFAULTS[what]
    edit(package / file, old, new)
    assert changed(before, ask(package, ASK)) == those(relied)


def test_a_parents_key_is_part_of_its_childs(package, before):
    """An edit of S4's recipe alone: the run on MS3 that starts there follows, the one that does not stays."""
    edit(package / "methods/avsbench/__init__.py", "recipes=_recipes(5, 15)", "recipes=_recipes(9, 15)")
    baseline = those(lambda run: run.task == "avs-s4" and run.method in ("avs-pvt", "avs-r50") and MINI(run))
    assert changed(before, ask(package, ASK)) == baseline | {"runs/mini/release/avs-ms3/avs-pvt/start=s4/s0"}


def add(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def a_new_method(package: Path) -> None:
    add(package / "methods/guest/__init__.py", '''
from dgsct.methods.base import Method, Part
METHODS = (Method("guest", "a guest", {"ave": Part("dgsct.methods.guest.model", options=("T",), sizes=("swin",))}),)
''')  # fmt: skip
    add(package / "methods/guest/model.py", "def build(task, scale, options): ...\n")
    edit(package / "methods/__init__.py", '("dg_sct", "late_fusion"', '("guest", "dg_sct", "late_fusion"')


def a_new_ledger_entry(package: Path) -> None:
    path = package / "tasks/ave/ledger.py"
    text = path.read_text(encoding="utf-8")
    entry = '    Entry("novel", "ave 9", "a topic", paper="-", release="-", effect="-", note="same in all protocols: new"),\n'
    end = text.rindex(")")
    path.write_text(text[:end] + entry + text[end:], encoding="utf-8")


def a_new_task(package: Path) -> None:
    add(package / "tasks/guest/__init__.py", '''
from dataclasses import replace
from dgsct.tasks.ave import TASKS as OTHERS
DATASETS = ()
TASKS = (replace(OTHERS[0], name="guest", folder="guest"),)
''')  # fmt: skip
    add(package / "tasks/guest/task.py", "def open_task(data, scale, options, inputs): ...\n")
    edit(package / "tasks/__init__.py", 'FOLDERS: tuple[str, ...] = ("ave", ', 'FOLDERS: tuple[str, ...] = ("guest", "ave", ')


@pytest.mark.parametrize("guest", [a_new_method, a_new_ledger_entry, a_new_task])
def test_a_guest_changes_no_key_of_others(package, before, guest):
    guest(package)
    assert changed(before, ask(package, ASK)) == set()
    if guest is not a_new_ledger_entry:
        task, method = ("ave", "guest") if guest is a_new_method else ("guest", "all-background")
        question = f"from dgsct.runs.run import Run\nprint(json.dumps(Run.make({task!r}, {method!r}).plan_key()))"
        assert ask(package, question) not in before.values()


# The fields of the first day, which stand in every key. One that is added since says `later(default, before=...)`.
FOUNDING: dict[type, set[str]] = {
    Options: {
        "S", "C", "T", "A2V", "V2A", "alpha", "beta", "gamma", "keep_tokens", "residual", "audio_block", "spatial_prompt",
        "pooling", "tile", "freeze_mode", "modality", "selection", "accumulation", "precision", "audio_encoder", "mixup",
    },
    AveOptions: {"head", "gate_loss", "accuracy"},
    AvsOptions: {"f_protocol", "av_weight"},
    S4Options: set(),
    Ms3Options: set(),
    AvsBenchOptions: {"visual_backbone"},
    Recipe: {"epochs", "patience", "batch_size", "lr", "lr_step", "lr_gamma", "threads", "checkpoint_every"},
    Group: {"match", "lr", "weight_decay"},
    SwinSizes: {"image_size", "patch_size", "embed_dim", "depths", "num_heads", "window_size", "num_classes", "drop_path"},
    HtsatSizes: {
        "sample_rate", "n_fft", "hop", "mel_bins", "f_min", "f_max", "spec_size", "patch_size", "embed_dim", "depths",
        "num_heads", "window_size", "num_classes", "drop_path", "time_stripe", "mel_stripe",
    },
    PvtSizes: {"dims", "num_heads", "depths", "sr_ratios", "drop_path"},
    ResnetSizes: {"depths", "width_per_group", "expansion"},
    VggishSizes: {"channels", "hidden", "embed_dim"},
    HeadSizes: {"visual_hidden", "audio_hidden", "width", "feed_forward", "num_heads"},
}  # fmt: skip


def complaints(cls: type, founding: set[str]) -> list[str]:
    """What is wrong with a class of which these are the fields of the first day, besides those that it inherits."""
    inherited = {name for base in cls.__mro__[1:] for name in FOUNDING.get(base, ())}
    unsaid = [f.name for f in fields(cls) if BEFORE not in f.metadata and f.name not in founding | inherited]
    gone = sorted(founding - {f.name for f in fields(cls) if BEFORE not in f.metadata})
    told = "which every run's key would hold: say under which value runs do what they did before it was there"
    return [f"{cls.__name__}.{name} is new, {told} (`{name}: ... = later(default, before=...)`)" for name in unsaid] + [
        f"{cls.__name__}.{name} is gone, or says `later`: the keys of all runs would change" for name in gone
    ]


@pytest.mark.parametrize("cls", FOUNDING, ids=lambda cls: cls.__name__)
def test_fields_of_the_first_day_are_pinned(cls):
    assert not complaints(cls, FOUNDING[cls])


def test_every_class_of_a_description_is_pinned():
    """Options of all methods, recipes and all sizes that a method reads."""
    described_by = {type(getattr(run.sizes, name)) for run in RUNS for name in run.part.sizes} - {int, float}
    options = {base for run in RUNS for base in options_class(run.task, run.method).__mro__ if base.__module__ != "types"}
    assert described_by | (options - {object}) <= FOUNDING.keys()


def test_a_new_field_without_a_word_on_before_is_told_what_to_do():
    @dataclass(frozen=True)
    class MoreSizes(VggishSizes):
        depth: int = 1
        height: int = later(2, before=2)

    (told,) = complaints(MoreSizes, {"channels", "hidden", "embed_dim"})
    assert told.startswith("MoreSizes.depth is new, which every run's key would hold: say under which value runs do what they")
    assert told.endswith("(`depth: ... = later(default, before=...)`)")
    assert complaints(VggishSizes, {"channels", "hidden", "embed_dim", "width"}) == [
        "VggishSizes.width is gone, or says `later`: the keys of all runs would change"
    ]


def test_what_is_described():
    @dataclass(frozen=True)
    class Inner:
        a: int = 1
        b: int = later(2, before=2)

    @dataclass(frozen=True)
    class Outer:
        inner: tuple[Inner, ...] = (Inner(), Inner(3, 4))
        names: dict = later({"x": 1}, before={})
        more: tuple[int, ...] = later((), before=())

    assert described(Outer()) == {"inner": [{"a": 1}, {"a": 3, "b": 4}], "names": {"x": 1}}
    assert described(Outer(names={}, more=(5,)), ["names", "more"]) == {"more": [5]}


@pytest.fixture
def invite(monkeypatch):
    """Makes a part that of a guest, a method that is there as long as the test."""
    caches = (option_names, options_class)

    def _invite(task: str, part: Part) -> Run:
        monkeypatch.setitem(METHODS, "guest", Method("guest", "", {task: part}))
        for cache in caches:
            cache.cache_clear()
        return Run.make(task, "guest")

    yield _invite
    for cache in caches:
        cache.cache_clear()


@pytest.mark.parametrize("task", TASKS)
def test_a_method_has_the_options_that_it_names_and_no_other(invite, task):
    """One that names none has those that every method has on its task: how it is measured."""
    for name in (name for name, method in METHODS.items() if task in method.tasks):
        assert set(option_names(task, name)) == {*METHODS[name].on(task).options, *TASKS[task].shared}
    run = invite(task, Part("none"))
    assert set(run.resolved()["options"]) == set(TASKS[task].shared)
    assert run.options.audio_encoder == "frozen"  # S4's release trains it in the methods that have the option


def test_an_option_that_neither_task_nor_method_has_cannot_be_named(invite):
    with pytest.raises(ValueError, match="method 'guest' names the option 'av_weight', which task 'ave' and it do not have"):
        invite("ave", Part("none", options=("av_weight",)))
