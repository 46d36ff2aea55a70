# Raw clips (generated at scale mini, the site's own otherwise) and the packed arrays that runs read.


rule mini_world:
    output:
        "results/data/mini/ave/raw/Annotations.txt",
    log:
        "results/data/mini/ave/mini_world.log",
    resources:
        mem_mb=2000,
        runtime=30,
    params:
        key=code_hash("dgsct.data.mini"),
        folder=subpath(output[0], parent=True),
    message:
        "generate the mini clips"
    shell:
        "{python} -m dgsct.data.mini ave {params.folder:q} > {log:q} 2>&1"


rule prepare:
    input:
        lambda w: f"{raw_folder(w.scale, w.task)}/Annotations.txt",
    output:
        "results/data/{scale}/{task}/packed/manifest.json",
    log:
        "results/data/{scale}/{task}/prepare.log",
    resources:
        mem_mb=lambda w: 2000 if get_scale(w.scale).short_runs else 16000,
        runtime=lambda w: 30 if get_scale(w.scale).short_runs else 480,
    params:
        key=lambda w: data_key(w.scale, w.task),
        raw=subpath(input[0], parent=True),
        folder=subpath(output[0], parent=True),
    message:
        "prepare {wildcards.task} ({wildcards.scale})"
    shell:
        "{python} -m dgsct.cli prepare {wildcards.task} {params.raw:q} {params.folder:q} --scale {wildcards.scale}"
        " > {log:q} 2>&1"
