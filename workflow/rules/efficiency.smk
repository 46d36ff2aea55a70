# Parameters and cost at full size, counted without data or weights.


rule efficiency:
    input:
        efficiency_inputs,
    output:
        left_in_place("results/efficiency/{method}.json"),
    log:
        "results/efficiency/{method}.log",
    resources:
        **ON_SLURM,
        mem_mb=8000,
        runtime=30,
    params:
        key=lambda w: efficiency_key(w.method) if STORED else None,
    message:
        "count {wildcards.method} at full size"
    shell:
        "{python} -m dgsct.cli efficiency {wildcards.method} --out {output:q} > {log:q} 2>&1"
