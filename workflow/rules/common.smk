# Settings, site, the matrix of runs, and what the rules ask of them. A wrong setting ends in one sentence.
import hashlib
import os
import shlex
import shutil
import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError
from snakemake.io import Mtime

BASE = Path(workflow.basedir)
if str(BASE) not in sys.path:
    sys.path.insert(0, str(BASE))

from dgsct.checksum import sha256_json
from dgsct.closure import code_hash
from dgsct.data.extractors import EXTRACTORS
from dgsct.tasks.generate import generator_module
from dgsct.encoders.keys import converted_key, encoder_key
from dgsct.encoders.sources import WEIGHTS, place_of, remedy
from dgsct.engine.execution import Execution
from dgsct.errors import DgsctError
from dgsct.runs.experiments import (
    EXPERIMENTS,
    all_runs,
    load_experiments,
    make_settings,
)
from dgsct.records.masks import masks_path, masks_state
from dgsct.methods import METHODS
from dgsct.runs.protocols import PROTOCOLS
from dgsct.records.results import (
    efficiency_key,
    efficiency_state,
    judged,
    validity,
)
from dgsct.runs.inputs import encoder_path, encoders_needed, input_paths, with_parents
from dgsct.runs.retention import keep_of, runs_with_needed_weights
from dgsct.runs.run import Run
from dgsct.runs.site import SITE as SITE_HERE, read_site
from dgsct.campaign.runtimes import minutes_to_ask, read_runtimes
from dgsct.settings.scales import SCALES, get_scale
from dgsct.tasks import HOMES, TASKS, get_set


configfile: str(BASE / "workflow/config/config.yaml")


def site_path(name):
    """The folder of a data set in the site file, needed at full size only."""
    value = SITE.data.get(name)
    if not value:
        raise WorkflowError(
            f"scale paper needs data.{name}: give its path in {SITE_FILE}, or name the tasks that are to be run (tasks=...)"
        )
    return str(value)


try:
    SETTINGS = make_settings(
        {k: v for k, v in config.items() if k not in ("experiments", "site")}
    )
    FOLDER = Path(config.get("experiments") or EXPERIMENTS)
    EXPERIMENT = load_experiments(FOLDER)
    RUNS = {run.folder.as_posix(): run for run in all_runs(EXPERIMENT, SETTINGS)}
    NEEDED_WEIGHTS = runs_with_needed_weights(EXPERIMENT.values(), SETTINGS)
    SITE_FILE = config.get("site") or str(SITE_HERE)
    SITE = read_site(Path(SITE_FILE))
except DgsctError as error:
    raise WorkflowError(str(error)) from None

TABLES = [name for name, e in EXPERIMENT.items() if not e.drawn]
FIGURES = [name for name, e in EXPERIMENT.items() if e.drawn]
RUN = "runs/{scale}/{protocol}/{task}/{method}/{setting}/s{seed}"
OUT = f"paper_tables/{SETTINGS.scale}/{SETTINGS.protocol}"
LOGS = f"results/logs/{SETTINGS.scale}/{SETTINGS.protocol}"
REPORT = f"{OUT}/report.pdf"
HAS_LATEX = shutil.which("pdflatex") is not None
OTHER_FOLDER = (
    f"--experiments {shlex.quote(str(FOLDER))}" if config.get("experiments") else ""
)
SEEDS = f" --seeds {SETTINGS.seeds}" if SETTINGS.seeds else ""
COMMON_OPTIONS = (
    f"--scale {SETTINGS.scale} --protocol {SETTINGS.protocol}{SEEDS} --out {OUT}"
)


def one_of(names):
    """A regular expression for exactly these names."""
    return "|".join(map(re.escape, names)) or "(?!)"


wildcard_constraints:
    scale=one_of(SCALES),
    protocol=one_of(PROTOCOLS),
    task=one_of(TASKS),
    dataset=one_of(HOMES),
    extractor=one_of(EXTRACTORS),
    method=one_of(METHODS),
    setting=r"default|[A-Za-z0-9_]+=[^/,]+",
    seed=r"\d+",
    encoder=one_of(WEIGHTS),
    table=one_of(TABLES),
    figure=one_of(FIGURES),


def raw_folder(scale, dataset):
    """The data set in its own layout: generated, or the site's."""
    return (
        f"results/data/{scale}/{dataset}/raw"
        if get_scale(scale).generated_data
        else site_path(dataset)
    )


# The public files that are there. Where one is not, its converted file may have come from elsewhere and is taken as it is.
PUBLIC = {
    name: str(path)
    for name, weights in WEIGHTS.items()
    if (path := place_of(name, SITE.weights).find(weights))
}


def need_encoders(run):
    """Say in a sentence which public weights are missing, where full size asks for them."""
    for name in encoders_needed(run):
        path = Path("results", encoder_path(run.scale, name))
        if name not in PUBLIC and not path.exists():
            raise WorkflowError(
                f"scale {run.scale} needs {path} or the public file that it is made from: {remedy(name, SITE.weights)}"
            )


def run_of(wildcards):
    """The Run behind a record: of the matrix, or any other whose folder is asked for by name."""
    folder = RUN.format(**wildcards)
    try:
        run = RUNS.get(folder) or Run.from_folder(Path(folder))
    except DgsctError as error:
        raise WorkflowError(f"results/{folder}: {error}") from None
    if run.folder.as_posix() != folder:
        raise WorkflowError(
            f"results/{folder} is the same run as results/{run.folder.as_posix()}: ask for that one"
        )
    return run


def run_inputs(wildcards):
    """What the run starts from (dgsct.runs.inputs): prepared data, features, encoders, other runs' records; never an experiment
    file."""
    return [f"results/{path.as_posix()}" for path in input_paths(run_of(wildcards))]


# Results in a storage of their own (docs/cluster.md) cannot be judged here: there Snakemake compares keys as parameters.
STORED = workflow.storage_settings.default_storage_provider is not None


def left_in_place(path):
    """An output, judged by its key, that Snakemake does not delete before its job: after a driver was killed, an earlier job of
    the same run may just have written it. A stale one is replaced in one step. In a storage every job has a copy of its own.
    """
    return path if STORED else update(path)


def by_key(path, state, inputs):
    """`inputs`, after the DAG has been told what the key of the file at `path` says of it: Snakemake itself sees ages only.

    A file that holds counts as young as the youngest of its inputs, so that only inputs that are made again make it again. One
    of other code or inputs is forced, also where Snakemake has no notes of it. No file on disk is touched.
    """
    if workflow.is_main_process and (holds := judged(Path(path), state)) is not None:
        if holds:
            there = [each for each in (path, *inputs) if os.path.exists(each)]
            ages = [
                look(each).st_mtime for each in there for look in (os.stat, os.lstat)
            ]
            workflow.iocache.mtime[path] = Mtime(local=max(ages))
        else:
            workflow.dag.forcefiles.add(path)
    return inputs


def state_of(judge, run):
    """What a judge of `dgsct.records` says of a run's file; an error in a sentence."""
    try:
        return judge(run, Path("results"))
    except DgsctError as error:
        raise WorkflowError(str(error)) from None


def train_inputs(wildcards):
    """What the run starts from, after its record has been judged."""
    run = run_of(wildcards)
    path = f"results/{run.folder.as_posix()}/record.json"
    return by_key(path, state_of(validity, run), run_inputs(wildcards))


def mask_inputs(wildcards):
    """The run's record and what it starts from, after its masks have been judged."""
    run = run_of(wildcards)
    path = f"results/{masks_path(run).as_posix()}"
    inputs = [f"results/{run.folder.as_posix()}/record.json", *run_inputs(wildcards)]
    return by_key(path, state_of(masks_state, run), inputs)


def key_if_stored(wildcards):
    """The key of a run's description and code where no record can be judged; else nothing that Snakemake could compare."""
    return run_of(wildcards).plan_key() if STORED else None


def efficiency_inputs(wildcards):
    """The code that counts, after the count has been judged."""
    path = f"results/efficiency/{wildcards.method}.json"
    state = efficiency_state(wildcards.method, Path("results"))
    return by_key(path, state, [str(BASE / "dgsct/engine/efficiency.py")])


def records(name):
    """The records that an experiment reads."""
    return [
        f"results/{run.folder.as_posix()}/record.json"
        for run in all_runs([EXPERIMENT[name]], SETTINGS)
    ]


def efficiency_files(name):
    """The efficiency files that an experiment reads: one for each method that the harness can build."""
    methods = dict.fromkeys(row.method for row in EXPERIMENT[name].rows)
    return [
        f"results/efficiency/{m}.json"
        for m in methods
        if m in METHODS and METHODS[m].counted
    ]


def mask_files(name):
    """The predicted masks that a figure shows."""
    runs = all_runs([EXPERIMENT[name]], SETTINGS)
    return [f"results/{masks_path(run).as_posix()}" for run in runs]


def made_from(name):
    """What an experiment is made from: records, with masks where those are shown, or the efficiency files."""
    kind = EXPERIMENT[name].kind
    if kind == "efficiency":
        return efficiency_files(name)
    return [*records(name), *(mask_files(name) if kind == "masks" else [])]


def table_files(name):
    """What is written for a table."""
    return multiext(f"{OUT}/{name}", ".tex", ".md", ".csv", ".html", ".json")


def figure_files(name):
    """What is written for a figure."""
    return multiext(f"{OUT}/{name}", ".pdf", ".png", ".json")


def made_from_records(name):
    """What is written for an experiment, and what it is made from: a table that came with the checkout is no result."""
    drawn = EXPERIMENT[name].drawn
    return [*(figure_files(name) if drawn else table_files(name)), *made_from(name)]


def data_key(scale, dataset):
    """Hash of what prepared data depend on: the code, the sizes that they are made for, and a site's own files."""
    sizes, data_set = get_scale(scale), get_set(dataset)
    files = []
    if not sizes.generated_data:
        files = data_set.source_stamps(Path(raw_folder(scale, dataset)))
    return sha256_json([code_hash(*data_set.decides), data_set.made_for(sizes), files])


def features_key(scale, extractor):
    """Hash of what features depend on besides the prepared set and the encoder's weights."""
    known, sizes = EXTRACTORS[extractor], get_scale(scale)
    made_for = [known.reads, known.encoder, known.shape(sizes)]
    code = code_hash(
        "dgsct.encoders.extract", f"dgsct.encoders.layouts.{known.encoder}"
    )
    return sha256_json([code, made_for])


def experiment_key(name, module):
    """Hash of an experiment's text and of the code that typesets it: a new caption re-makes the table only."""
    text = (FOLDER / f"{name}.yaml").read_bytes()
    return hashlib.sha256(text + code_hash(module).encode()).hexdigest()


def asked_runs():
    """The runs that the targets may need, told by the command's words: Snakemake tells targets only after parsing."""
    words = set(sys.argv[1:])
    named = words & set(EXPERIMENT)
    files = [word for word in words if word.startswith("results/")]
    if words & {"all_tables", "all_figures", "report"} or not (named or files):
        return with_parents(RUNS.values())
    asked = all_runs([EXPERIMENT[name] for name in named], SETTINGS)
    found = [run for place, run in RUNS.items() if any(place in f for f in files)]
    return with_parents([*asked, *found])


# Said here, in a sentence: an error inside an input function comes with Snakemake's own traceback.
if not get_scale(SETTINGS.scale).generated_data and workflow.is_main_process:
    for _run in asked_runs():
        raw_folder(_run.scale, _run.dataset)
        need_encoders(_run)
