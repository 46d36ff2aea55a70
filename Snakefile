# DG-SCT benchmark: from generated or real clips to the paper's tables and figures.
#
#   snakemake                              all tables and figures at scale mini, on this machine (profile workflow/profiles/default)
#   snakemake table1 -n                    what would be run for one table
#   snakemake table1 --config scale=paper site=my_site.yaml
#                                          full size: copy workflow/config/site.yaml and fill it in first (docs/data.md)
#   snakemake all_tables --profile slurm   the same on a cluster (profile workflow/profiles/slurm)
#   snakemake all_tables --config protocol=clean seeds=1 tasks=ave methods=dg-sct,lavish-star
#
# The matrix of runs is derived from workflow/experiments/*.yaml by dgsct.runs.experiments; nothing is listed twice.


include: "workflow/rules/common.smk"
include: "workflow/rules/cluster.smk"
include: "workflow/rules/data.smk"
include: "workflow/rules/encoders.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/efficiency.smk"
include: "workflow/rules/tables.smk"
include: "workflow/rules/figures.smk"


localrules:
    all_tables,
    all_figures,
    report,


rule all_tables:
    default_target: True
    input:
        [made_from_records(name) for name in [*TABLES, *FIGURES]],
        REPORT if HAS_LATEX else [],
    message:
        "all tables and figures are in {OUT}"


rule all_figures:
    input:
        [made_from_records(name) for name in FIGURES],
    message:
        "all figures are in {OUT}"


rule report:
    input:
        REPORT,
    message:
        "the report is {input}"


# One target for each experiment file: table1, table2, ..., fig4, fig8, fig9.
for _name in TABLES:

    rule:
        name:
            _name
        input:
            made_from_records(_name),
        localrule: True
        message:
            "{rule} is in {OUT}"


for _name in FIGURES:

    rule:
        name:
            _name
        input:
            made_from_records(_name),
        localrule: True
        message:
            "{rule} is in {OUT}"


onstart:
    if not HAS_LATEX:
        print(
            "pdflatex is not installed: all_tables leaves out report.pdf",
            file=sys.stderr,
        )


onerror:
    print(
        "some jobs failed: `dgsct status` counts them, `dgsct tables` typesets what is there with the reasons, and the"
        " same command goes on; a run that fails twice in the same way is settled as failed (docs/runs.md)",
        file=sys.stderr,
    )
