# Figures: they read records, and the masks that a run's best weights predict for the test clips.
localrules:
    figure,


rule figure:
    input:
        lambda w: made_from(w.figure),
    output:
        multiext(f"{OUT}/{{figure}}", ".pdf", ".png", ".json"),
    log:
        f"{LOGS}/{{figure}}.log",
    params:
        key=lambda w: experiment_key(w.figure, "dgsct.publish.figures"),
    message:
        "draw {wildcards.figure}"
    shell:
        "{python} -m dgsct.cli figures {wildcards.figure} {COMMON_OPTIONS} {OTHER_FOLDER} > {log:q} 2>&1"


# Not in the record: only the qualitative figure wants them. The best weights lie beside the record.
rule masks:
    input:
        mask_inputs,
    output:
        left_in_place(f"results/{RUN.replace('runs/', 'masks/', 1)}.npz"),
    log:
        f"results/{RUN.replace('runs/', 'masks/', 1)}.log",
    threads: cpus
    resources:
        **ON_GPU,
        mem_mb=mem_mb,
        runtime=30,
    params:
        key=key_if_stored,
        folder=subpath(input[0], parent=True),
    message:
        "masks of {wildcards.task} {wildcards.method} {wildcards.setting} ({wildcards.scale}, {wildcards.protocol})"
    shell:
        "{python} -m dgsct.cli masks {params.folder:q} > {log:q} 2>&1"
