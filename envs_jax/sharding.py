"""Environments spread over devices: what each device does with its own, without asking the others."""

from collections.abc import Callable
from typing import Any, TypeVar

import jax
from jax.sharding import PartitionSpec

AXIS = "environments"
"""The axis of a mesh over which environments are spread; `jax.set_mesh` sets it while a program is traced."""

Tree = TypeVar("Tree")


def has_mesh() -> bool:
    """Whether a mesh with `AXIS` is set."""
    return AXIS in jax.sharding.get_abstract_mesh().axis_names


def shard_map_local(function: Callable[..., Any], axis: int = 0) -> Callable[..., Any]:
    """A function of arrays with the environments on an axis, which each device calls with its own.

    Without a mesh, the function itself. Nothing goes from one device to another, so that a loop runs
    on each as long as its own environments need.
    """
    if not has_mesh():
        return function
    place = PartitionSpec(*[None] * axis, AXIS)
    return jax.shard_map(function, in_specs=place, out_specs=place, check_vma=False)


def replicate(tree: Tree) -> Tree:
    """Arrays of which each device gets all. Without a mesh, as they are."""
    return jax.lax.with_sharding_constraint(tree, PartitionSpec()) if has_mesh() else tree


def shard(tree: Tree, axis: int = 0) -> Tree:
    """Arrays of which each device gets its part of an axis. Without a mesh, as they are."""
    if not has_mesh():
        return tree
    return jax.lax.with_sharding_constraint(tree, PartitionSpec(*[None] * axis, AXIS))
