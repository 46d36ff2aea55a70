"""DG-SCT, and LAVisH* as its ablation: one file a task."""
