"""The site file: what it may say, what follows, and how it is told that something is wrong."""

import pytest
import yaml

from dgsct.errors import UsageError
from dgsct.methods import METHODS
from dgsct.runs.run import Run
from dgsct.runs.site import SITE, Site, read_site
from dgsct.settings.resources import SHORT, Resources
from dgsct.tasks import HOMES

FOLDERS = {"data", "features"}  # the file names the entries, all null


@pytest.fixture
def read(tmp_path):
    """Reads a site file with this text."""

    def reading(text: str) -> Site:
        (tmp_path / "site.yaml").write_text(text)
        return read_site(tmp_path / "site.yaml")

    return reading


def full(task: str, method: str) -> Run:
    return Run.make(task, method, scale="paper")


def test_the_repositorys_own_file_has_a_line_for_every_data_set():
    assert list(yaml.safe_load(SITE.read_text(encoding="utf-8"))["data"]) == list(HOMES)


def test_the_repositorys_own_file_says_nothing_that_the_harness_does_not():
    assert read_site() == read_site(SITE)
    assert read_site(SITE).model_dump(exclude=FOLDERS) == Site().model_dump(exclude=FOLDERS)


def test_it_names_every_key():
    keys = yaml.safe_load(SITE.read_text())
    assert set(keys) == set(Site.model_fields)
    for name in ("run", "slurm"):
        assert set(keys[name]) == set(type(getattr(Site(), name)).model_fields)


def test_its_examples_are_right(read):
    """The commented entries of `runs`."""
    lines = SITE.read_text().splitlines()
    examples = [line.replace("# ", "", 1) for line in lines if line.startswith('  # "')]
    assert len(examples) >= 3
    assert len(read("\n".join(["runs:", *examples])).runs) == len(examples)


def test_sections_that_are_commented_out_are_empty(read):
    assert read("data:\nweights:\nrun:\nruns:\nslurm:\n") == Site()


def test_what_it_says_of_some_runs_reaches_them_alone(read):
    site = read("run: {mem_mb: 64000}\nruns: {'*/late-fusion': {minutes: 120}, 'avs-*/dg-sct': {gpus: 2}}")
    assert site.resources(full("ave", "dg-sct")) == Resources(8, 64_000, 720, 1)
    assert site.resources(full("ave", "late-fusion")) == Resources(8, 64_000, 120, 1)
    assert site.resources(full("avs-ms3", "dg-sct")) == Resources(8, 64_000, 720, 2)
    assert site.resources(full("ave", "majority-class")) == Resources(1, 3_000, 30, 0)
    for name, method in METHODS.items():
        assert site.resources(Run.make(method.tasks[0], name)) == SHORT


def test_where_to_change_a_number(read):
    site = read("run: {minutes: 60}\nruns: {'ave/*': {minutes: 120}}")
    assert site.key(full("ave", "dg-sct"), "minutes") == "runs.ave/*.minutes"
    assert site.key(full("avs-s4", "dg-sct"), "minutes") == "run.minutes"
    assert site.key(full("avs-s4", "dg-sct"), "cpus") == "run.cpus"
    assert site.key(full("ave", "dg-sct"), "gpus") == "runs.ave/dg-sct.gpus"
    assert site.key(full("ave", "majority-class"), "minutes") == "runs.ave/majority-class.minutes"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("- run", "the site file must hold `name: value` lines; see workflow/config/site.yaml"),
        ("run: {cpus: 2", "the site file cannot be read (while parsing "),
        ("dta: {ave: x}", "unknown key dta; known: data, features, weights, run, runs, slurm"),
        ("1: 2", "the key 1 must be text"),
        ("run: 8", "run must hold `name: value` lines"),
        ("run: {cpus: many}", "run.cpus must be a whole number above 0, or null"),
        ("run: {cpus: yes}", "run.cpus must be a whole number above 0, or null"),
        ("run: {minutes: 0}", "run.minutes must be a whole number above 0, or null"),
        ("run: {mem_mb: 1.5}", "run.mem_mb must be a whole number above 0, or null"),
        ("run: {minute: 1, cpus: many}", "unknown key run.minute; known: cpus, mem_mb, minutes, keep, checkpoint_stages"),
        ("run: {compile: 'yes'}", "run.compile must be true or false"),
        ("run: {scratch: 3}", "run.scratch must be a folder, or null"),
        ("run: {keep: all}", "run.keep must be weights or record"),
        ("runs: [a]", "runs must hold `name: value` lines"),
        ("runs: {ave: {cpus: 1}}", "runs.ave: it must be TASK/METHOD, with * for any, for example '*/late-fusion'"),
        ("runs: {a/b/c: {cpus: 1}}", "runs.a/b/c: it must be TASK/METHOD, with * for any"),
        ("runs: {avee/*: {cpus: 1}}", "runs.avee/*: no task is called 'avee'; did you mean 'ave'?"),
        ("runs: {ave/zzz: {cpus: 1}}", "runs.ave/zzz: no method is called 'zzz'; use one of: dg-sct, "),
        ("runs: {'*/late-fusoin': {}}", "runs.*/late-fusoin: no method is called 'late-fusoin'; did you mean 'late-fusion'?"),
        ("runs: {ave/avs-*: {}}", "runs.ave/avs-*: no method that fits runs on a task that fits"),
        ("runs: {ave/*: 3}", "runs.ave/* must hold `name: value` lines"),
        ("runs: {ave/*: {gpus: -1}}", "runs.ave/*.gpus must be a whole number, or null"),
        ("runs: {ave/*: {gpu: 1}}", "unknown key runs.ave/*.gpu; known: cpus, mem_mb, minutes, gpus"),
        ("runs: {1: {gpus: 1}}", "the key runs.1 must be text"),
        ("data: {aev: x}", "unknown key data.aev; known: ave, avs-s4, avs-ms3"),
        ("data: {ave: 3}", "data.ave must be a folder, or null"),
        ("features: {avs-s4/vggish: 3}", "features.avs-s4/vggish must be a folder, or null"),
        ("features: {avs-s4: x}", "unknown key features.avs-s4; it must be DATASET/FEATURES: one of ave, "),
        ("weights: [a, b]", "weights must be a folder, or a file for each of swin, htsat"),
        ("weights: {swim: a}", "weights must be a folder, or a file for each of swin, htsat"),
        ("slurm: {partitoin: gpu}", "unknown key slurm.partitoin; known: partition, gpu_partition, account"),
        ("slurm: {account: 12}", "slurm.account must be text or null"),
    ],
)
def test_what_is_wrong_is_one_sentence_that_names_file_and_key(read, tmp_path, text, sentence):
    with pytest.raises(UsageError) as error:
        read(text)
    said = str(error.value)
    assert said.startswith(f"{tmp_path / 'site.yaml'}: {sentence}")
    assert "\n" not in said


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(UsageError, match=r"nowhere\.yaml: the site file cannot be read \("):
        read_site(tmp_path / "nowhere.yaml")
