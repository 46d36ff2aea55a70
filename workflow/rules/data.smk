# Raw clips (generated at scale mini, the site's own otherwise), the packed arrays that runs read, and features made from them.


rule mini_world:
    output:
        "results/data/mini/{dataset}/raw/{index}",
    log:
        "results/data/mini/{dataset}/mini_world/{index}.log",
    wildcard_constraints:
        index=one_of({get_set(name).index_file("").as_posix() for name in HOMES}),
    resources:
        **ON_SLURM,
        mem_mb=2000,
        runtime=30,
    params:
        key=lambda w: code_hash(generator_module(w.dataset)),
        folder=lambda w: raw_folder("mini", w.dataset),
    message:
        "generate the mini clips of {wildcards.dataset}"
    shell:
        "{python} -m dgsct.tasks.generate {wildcards.dataset} {params.folder:q} > {log:q} 2>&1"


rule prepare:
    input:
        lambda w: str(get_set(w.dataset).index_file(raw_folder(w.scale, w.dataset))),
    output:
        "results/data/{scale}/{dataset}/packed/manifest.json",
    log:
        "results/data/{scale}/{dataset}/prepare.log",
    resources:
        **ON_SLURM,
        mem_mb=lambda w: 2000 if get_scale(w.scale).short_runs else 16000,
        runtime=lambda w: 30 if get_scale(w.scale).short_runs else 480,
    params:
        key=lambda w: data_key(w.scale, w.dataset),
        raw=lambda w: raw_folder(w.scale, w.dataset),
        folder=subpath(output[0], parent=True),
    message:
        "prepare {wildcards.dataset} ({wildcards.scale})"
    shell:
        "{python} -m dgsct.cli prepare {wildcards.dataset} {params.raw:q} {params.folder:q} --scale {wildcards.scale}"
        " > {log:q} 2>&1"


# What a frozen encoder gives for a clip is the same in every run and epoch: it is computed once.
rule features:
    input:
        "results/data/{scale}/{dataset}/packed/manifest.json",
        lambda w: f"results/encoders/{w.scale}/{EXTRACTORS[w.extractor].encoder}.safetensors",
    output:
        "results/features/{scale}/{dataset}/{extractor}/features.json",
    log:
        "results/features/{scale}/{dataset}/{extractor}/features.log",
    resources:
        **ON_SLURM,
        mem_mb=lambda w: 2000 if get_scale(w.scale).short_runs else 16000,
        runtime=lambda w: 30 if get_scale(w.scale).short_runs else 240,
    params:
        key=lambda w: features_key(w.scale, w.extractor),
        raw=lambda w: (
            ""
            if EXTRACTORS[w.extractor].reads
            else f"--raw {shlex.quote(raw_folder(w.scale, w.dataset))}"
        ),
        public=lambda w: (
            f"--from {shlex.quote(SITE.features[f'{w.dataset}/{w.extractor}'])}"
            if not get_scale(w.scale).generated_data
            and SITE.features.get(f"{w.dataset}/{w.extractor}")
            else ""
        ),
    message:
        "features {wildcards.extractor} of {wildcards.dataset} ({wildcards.scale})"
    shell:
        "{python} -m dgsct.cli features {wildcards.dataset} {wildcards.extractor} --scale {wildcards.scale} {params.raw} {params.public}"
        " > {log:q} 2>&1"
