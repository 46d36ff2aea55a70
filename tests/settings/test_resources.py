"""What runs ask for by default, and whose word counts."""

from dgsct.settings.resources import BY_KIND, ON_FEATURES, PROMPT, Resources, layers, matching, resolve

NONE = Resources()


def asked(kind="trained", gpus=1, of_task=NONE, of_method=NONE, run=NONE, task="ave", method="dg-sct", **runs) -> Resources:
    """What a run asks for; `runs` are patterns, written with __ for the slash and ANY for the star."""
    patterns = {name.replace("__", "/").replace("ANY", "*").replace("_", "-"): value for name, value in runs.items()}
    return resolve(kind, gpus, layers(task, method, kind, of_task, of_method, run, patterns))


def test_defaults_by_kind():
    assert asked() == Resources(8, 48_000, 720, 1)
    assert asked(gpus=4) == Resources(8, 48_000, 720, 4)  # a scale's own number
    assert asked("frozen", gpus=4) == Resources(4, 16_000, 60, 1)
    assert asked("yardstick", gpus=4) == Resources(1, 3_000, 30, 0)
    assert asked(of_method=ON_FEATURES, gpus=4).gpus == asked(of_method=PROMPT, gpus=4).gpus == 1
    everything = [*BY_KIND.values(), ON_FEATURES, PROMPT]
    assert all(one.cpus and one.mem_mb and one.minutes for one in everything)


def test_the_more_particular_word_wins_key_by_key():
    words = {
        "of_task": Resources(cpus=1, mem_mb=1, minutes=1, gpus=2),
        "of_method": Resources(cpus=2, mem_mb=2, minutes=2),
        "run": Resources(cpus=3, mem_mb=3),
        "ANY__ANY": Resources(cpus=4, minutes=4),
        "ave__ANY": Resources(cpus=5),
        "ANY__dg_sct": Resources(cpus=6),
        "ave__dg_sct": Resources(cpus=7),
    }
    expected = [(1, 1, 1, 2), (2, 2, 2, 2), (3, 3, 2, 2), (4, 3, 4, 2), (5, 3, 4, 2), (6, 3, 4, 2), (7, 3, 4, 2)]
    for count, values in enumerate(expected, start=1):
        said = dict(list(words.items())[:count])
        assert asked(**said) == Resources(*values)
        assert asked(**dict(reversed(said.items()))) == Resources(*values)  # the order in the file decides nothing


def test_a_part_of_a_name_lies_between_any_and_a_name_and_of_equals_the_later_counts():
    patterns = ["avs-s4/*", "*/late-*", "avs-*/*", "*/*", "avs-*/late-fusion", "*/late-fusion", "ave/*"]
    found = ["*/*", "avs-*/*", "avs-s4/*", "*/late-*", "*/late-fusion", "avs-*/late-fusion"]
    assert matching(patterns, "avs-s4", "late-fusion") == found
    assert matching(reversed(patterns), "avs-s4", "late-fusion") == found
    assert matching(["*-s4/*", "avs-*/*"], "avs-s4", "dg-sct") == ["*-s4/*", "avs-*/*"]
    assert matching(["AVE/*"], "ave", "dg-sct") == []


def test_who_speaks_of_trainings_does_not_speak_of_a_yardstick():
    """Ten of them share a job, which would ask for ten times the minutes of a training."""
    long = Resources(16, 96_000, 2_880, 2)
    plain = asked("yardstick")
    assert asked("yardstick", of_task=long, run=long, ANY__ANY=long, ave__ANY=long) == plain
    named = asked("yardstick", method="mean-mask", **{"ANY__mean_mask": Resources(mem_mb=9_000, gpus=2)})
    assert named == Resources(plain.cpus, 9_000, plain.minutes, 0)


def test_what_is_evaluated_alone_takes_one_gpu_and_the_sites_limits():
    frozen = asked("frozen", of_task=Resources(minutes=2_880), run=Resources(minutes=20), ave__ANY=Resources(gpus=4))
    assert frozen == Resources(4, 16_000, 20, 1)
