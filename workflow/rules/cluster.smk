# What a job asks for: cores, GPUs, minutes, and what the site says of its cluster (`slurm` in workflow/config/site.yaml).
SLURM_KEYS = {  # ... and the resource that tells Snakemake's plugin
    "partition": "slurm_partition",
    "gpu_partition": "slurm_partition",
    "account": "slurm_account",
    "qos": "qos",
    "constraint": "constraint",
    "gres": "gres",
    "before": None,
    "python": None,
}


def slurm_keys(site):
    """What the site says of its cluster, without what it leaves open."""
    for name, value in (site["slurm"] or {}).items():
        if name not in SLURM_KEYS:
            raise WorkflowError(
                f"{SITE_FILE}: unknown key slurm.{name}; known: {', '.join(SLURM_KEYS)}"
            )
        if not isinstance(value, (str, type(None))):
            raise WorkflowError(f"{SITE_FILE}: slurm.{name} must be text or null")
    return {name: value for name, value in (site["slurm"] or {}).items() if value}


SLURM = slurm_keys(SITE)

python = shlex.quote(sys.executable)  # every command begins with it
if "SLURM_JOB_ID" in os.environ:
    python = SLURM.get("python", python)
    if "before" in SLURM:
        python = f"{SLURM['before']}; {python}"


def full_size(wildcards):
    """Whether this run trains at full size, on a GPU."""
    return (
        METHODS[wildcards.method].trains and not get_scale(wildcards.scale).short_runs
    )


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
    """Cores of a run: the site's at full size, one at small ones."""
    return SITE["run"]["cpus"] if full_size(wildcards) else 1


def threads_of(wildcards):
    """Cores that Snakemake itself counts."""
    return 10**6 if IN_JOB and not full_size(wildcards) else cpus(wildcards)


def cores_of_step(wildcards):
    """Cores that Slurm is asked for."""
    return -1 if IN_JOB and not full_size(wildcards) else cpus(wildcards)


def gpus(wildcards):
    """GPUs of a run: as many as its scale says at full size, none at small ones."""
    return get_scale(wildcards.scale).gpus if full_size(wildcards) else 0


def gres(wildcards):
    """What a site with `slurm.gres` is asked for in place of --gpus."""
    number = gpus(wildcards)
    return f"{SLURM['gres']}:{number}" if number else ""


def partition(wildcards):
    """The partition of a site that has one for GPUs; empty: the cluster's default."""
    return SLURM["gpu_partition"] if gpus(wildcards) else SLURM.get("partition", "")


ON_SLURM = {
    SLURM_KEYS[name]: SLURM[name]
    for name in ("partition", "account", "qos", "constraint")
    if name in SLURM
}
ON_GPU = {
    **ON_SLURM,
    "cpus_per_task": cores_of_step,  # `threads` are at most the cores of the machine that submits
    **({"gres": gres, "gpu": 0} if "gres" in SLURM else {"gpu": gpus}),
    **({"slurm_partition": partition} if "gpu_partition" in SLURM else {}),
}

# What `dgsct plan` has noted; read once, as the Snakefile is parsed again inside every Slurm job.
RUNTIMES = read_runtimes(Path("results"))


def run_minutes(wildcards, attempt):
    """Minutes that a training asks for: what it is expected to take with a margin, at most what the site allows."""
    limit = SITE["run"]["minutes"] if full_size(wildcards) else 30
    return minutes_to_ask(RUNTIMES.get(RUN.format(**wildcards)), attempt, limit)
