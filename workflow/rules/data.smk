# Raw clips (generated at scale mini, the site's own otherwise) and the packed arrays that runs read.


rule mini_world:
    output:
        "results/data/mini/{task}/raw/{index}",
    log:
        "results/data/mini/{task}/mini_world/{index}.log",
    wildcard_constraints:
        index=one_of({one.index_file("").as_posix() for one in SETS.values()}),
    resources:
        **ON_SLURM,
        mem_mb=2000,
        runtime=30,
    params:
        key=lambda w: code_hash(GENERATORS[w.task]),
        folder=lambda w: raw_folder("mini", w.task),
    message:
        "generate the mini clips of {wildcards.task}"
    shell:
        "{python} -m dgsct.tasks.generate {wildcards.task} {params.folder:q} > {log:q} 2>&1"


rule prepare:
    input:
        lambda w: str(SETS[w.task].index_file(raw_folder(w.scale, w.task))),
    output:
        "results/data/{scale}/{task}/packed/manifest.json",
    log:
        "results/data/{scale}/{task}/prepare.log",
    resources:
        **ON_SLURM,
        mem_mb=lambda w: 2000 if get_scale(w.scale).short_runs else 16000,
        runtime=lambda w: 30 if get_scale(w.scale).short_runs else 480,
    params:
        key=lambda w: data_key(w.scale, w.task),
        raw=lambda w: raw_folder(w.scale, w.task),
        folder=subpath(output[0], parent=True),
    message:
        "prepare {wildcards.task} ({wildcards.scale})"
    shell:
        "{python} -m dgsct.cli prepare {wildcards.task} {params.raw:q} {params.folder:q} --scale {wildcards.scale}"
        " > {log:q} 2>&1"
