# One run, one record, which holds or not by its own key (description, imported code, inputs), never by a parameter or its age;
# checkpoints lie beside the record and are no declared output, so that a stopped run goes on where it was.


rule train:
    input:
        train_inputs,
    output:
        left_in_place(f"results/{RUN}/record.json"),
    log:
        f"results/{RUN}/job.log",
    benchmark:
        f"results/{RUN}/benchmark.tsv"
    group:
        bundle_of
    threads: threads_of
    resources:
        **ON_GPU,
        mem_mb=mem_mb,
        runtime=run_minutes,
        bundle=lambda w: 0 if full_size(w) else 1,  # one after the other (workflow/profiles/slurm)
    params:
        key=key_if_stored,
        options=execution_options,
    message:
        "run {wildcards.task} {wildcards.method} {wildcards.setting} seed {wildcards.seed} ({wildcards.scale}, {wildcards.protocol})"
    shell:
        # Only a cluster's job has a time limit of its own; the trainer saves and stops before it (exit code 75).
        f"{{python}} -m dgsct.engine.worker train results/{RUN.replace('{', '{wildcards.')}"
        f" ${{{{SLURM_JOB_ID:+--time-budget {{resources.runtime}}}}}} {{params.options}} > {{log:q}} 2>&1"
