"""Samples of categories from two sources, side by side."""

import numpy as np


def contingency_table(ours, theirs, is_rare):
    """int[2, categories], how often each comes in either; those for which `is_rare` of the table says so are one."""
    values, numbers = np.unique(np.concatenate([ours, theirs]), axis=0, return_inverse=True)
    parts = np.split(numbers.reshape(-1), [len(ours)])
    table = np.stack([np.bincount(part, minlength=len(values)) for part in parts])
    rare = is_rare(table)
    table = np.column_stack([table[:, ~rare], table[:, rare].sum(1)])
    return table[:, table.sum(0) > 0]
