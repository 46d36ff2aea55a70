# One run, one record. `key` (description and imported code) is the only parameter; checkpoints lie beside the record
# and are no declared output, so that a stopped run goes on where it was.


rule train:
    input:
        run_inputs,
    output:
        f"results/{RUN}/record.json",
    log:
        f"results/{RUN}/job.log",
    benchmark:
        f"results/{RUN}/benchmark.tsv"
    threads: lambda w: SITE["run"]["cpus"] if full_size(w) else 1
    resources:
        **{
            f"slurm_{name}": value
            for name, value in (SITE["slurm"] or {}).items()
            if value
        },
        mem_mb=lambda w: SITE["run"]["mem_mb"] if full_size(w) else 3000,
        runtime=run_minutes,
        gpu=lambda w: get_scale(w.scale).gpus if full_size(w) else 0,
    params:
        key=lambda w: run_of(w).plan_key(),
    message:
        "run {wildcards.task} {wildcards.method} {wildcards.setting} seed {wildcards.seed} ({wildcards.scale}, {wildcards.protocol})"
    shell:
        # Only a cluster's job has a time limit of its own; the trainer saves and stops before it (exit code 75).
        f"{{python}} -m dgsct.worker train results/{RUN.replace('{', '{wildcards.')}"
        f" ${{{{SLURM_JOB_ID:+--time-budget {{resources.runtime}}}}}} {execution_options()} > {{log:q}} 2>&1"
