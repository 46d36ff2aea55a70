# What a job asks for: cores, GPUs, minutes, and what the site says of its cluster (`slurm` in workflow/config/site.yaml).
SLURM_KEYS = {  # ... and the resource that tells Snakemake's plugin
    "partition": "slurm_partition",
    "account": "slurm_account",
    "qos": "qos",
    "constraint": "constraint",
}
SLURM = SITE.slurm.given

python = shlex.quote(sys.executable)  # every command begins with it
if "SLURM_JOB_ID" in os.environ:
    python = SLURM.get("python", python)
    if "before" in SLURM:
        python = f"{SLURM['before']}; {python}"


def asked(wildcards):
    """What this run asks for: CPUs, memory, minutes, GPUs (dgsct.settings.resources)."""
    return SITE.resources(run_of(wildcards))


def full_size(wildcards):
    """Whether this run has a job of its own: it works at full size, and is no yardstick, which takes seconds."""
    kind = run_of(wildcards).kind
    return kind != "yardstick" and not get_scale(wildcards.scale).short_runs


# Inside a job Snakemake reads no profile: it would cut a bundle into groups of one and start itself once more for each
# (seconds a run). So the bundle stays whole; srun is not told its cores (-1), which would be the sum of its members',
# and each member takes all cores (`threads` are capped), so that they follow each other.
IN_JOB = not workflow.is_main_process


def bundle_of(wildcards):
    """The group of a short run; none for a long one."""
    if IN_JOB:  # not earlier: Snakemake sets this after it has read the rules
        workflow.group_settings.group_components = {"short": 10**6}
    return None if full_size(wildcards) else "short"


def cpus(wildcards):
    """Cores of a run."""
    return asked(wildcards).cpus


def mem_mb(wildcards):
    """Memory of a run."""
    return asked(wildcards).mem_mb


def threads_of(wildcards):
    """Cores that Snakemake itself counts."""
    return 10**6 if IN_JOB and not full_size(wildcards) else cpus(wildcards)


def cores_of_step(wildcards):
    """Cores that Slurm is asked for."""
    return -1 if IN_JOB and not full_size(wildcards) else cpus(wildcards)


def gpus(wildcards):
    """GPUs of a run, each of which gets a process of its training."""
    return asked(wildcards).gpus


def gres(wildcards):
    """What a site with `slurm.gres` is asked for in place of --gpus."""
    number = gpus(wildcards)
    return f"{SLURM['gres']}:{number}" if number else ""


def partition(wildcards):
    """The partition of a site that has one for GPUs; empty: the cluster's default."""
    return SLURM["gpu_partition"] if gpus(wildcards) else SLURM.get("partition", "")


ON_SLURM = {SLURM_KEYS[name]: SLURM[name] for name in SLURM_KEYS if name in SLURM}
ON_GPU = {
    **ON_SLURM,
    "cpus_per_task": cores_of_step,  # `threads` are at most the cores of the machine that submits
    **({"gres": gres, "gpu": 0} if "gres" in SLURM else {"gpu": gpus}),
    **({"slurm_partition": partition} if "gpu_partition" in SLURM else {}),
}

# What `dgsct plan` has noted; read once, as the Snakefile is parsed again inside every Slurm job.
RUNTIMES = read_runtimes(Path("results"))


def run_minutes(wildcards, attempt):
    """Minutes that a run asks for: what it is expected to take with a margin, at most what the site allows."""
    expected = RUNTIMES.get(RUN.format(**wildcards))
    return minutes_to_ask(expected, attempt, asked(wildcards).minutes)


def execution_options(wildcards, resources):
    """The trainer's options that say how this run is carried out. None of them changes a result, so none is to start a run
    again: Snakemake does not compare a parameter that asks for `resources`."""
    chosen = Execution(
        checkpoint_stages=SITE.run.checkpoint_stages,
        compile=SITE.run.compile,
        scratch=SITE.run.scratch,
        gpus=gpus(wildcards),
        keep=keep_of(run_of(wildcards), SITE.run.keep, NEEDED_WEIGHTS),
    )
    return shlex.join(chosen.arguments())
