"""The students by name, built in and registered."""

from collections.abc import Callable
from typing import Any, Final

import jax

from envs_jax.locked_hallway import Observation as HallwayObservation
from envs_jax.minigrid.map_memory import MapObservation
from envs_jax.wrappers import AgentAxisWrapper
from jaxteach.networks.base import Student, is_student
from jaxteach.networks.cnn import SMALLEST, CNNNet
from jaxteach.networks.egocentric import EgocentricNet
from jaxteach.networks.hinted import HintedNet
from jaxteach.networks.mlp import MLPNet
from jaxteach.networks.reference import ReferenceNet
from jaxteach.tasks import OBJECT

NETWORKS: Final = ("egocentric", "reference", "cnn", "mlp")
REGISTERED: Final[dict[str, Callable[[AgentAxisWrapper], Student]]] = {}
"""What makes the networks that users have registered."""

Network = EgocentricNet | ReferenceNet | CNNNet | MLPNet | HintedNet | Student


def make_network(name: str, world: AgentAxisWrapper, recurrent: bool) -> Network:
    """A student by name, for what the world shows.

    Raises:
        ValueError: an unknown name, a world that the network does not fit, or recurrence for a
            network without it.
    """
    known = (*NETWORKS, *REGISTERED)
    if name not in known and name.startswith(OBJECT):
        raise ValueError(f"the network {name} was passed as an object; pass the same again in Python, as network=")
    if name not in known:
        raise ValueError(f"unknown network {name!r}; known are {', '.join(known)}")
    if name in REGISTERED and recurrent:
        raise ValueError(f"--recurrent is for built-in networks; {name} has whatever recurrence its module has")
    if name in REGISTERED:
        made = REGISTERED[name](world)
        if not is_student(made):
            raise ValueError(f"the network {name} makes {made!r}, which is not a jaxteach.Student")
        return made
    obs = world.abstract_observation
    fitting = _fitting(obs)
    if not fitting:
        raise ValueError(f"the {name} network can't read observations of several arrays; use a network of your own")
    if name not in fitting:
        raise ValueError(
            f"the {name} network can't read this task's observations; use --network {' or '.join(fitting)}"
        )
    if name == "mlp":
        return MLPNet(world.action_counts, isinstance(obs, HallwayObservation), recurrent)
    (num_actions,) = world.action_counts
    if name == "reference":
        return ReferenceNet(num_actions, recurrent)
    if recurrent:
        raise ValueError(f"the {name} network has no recurrence; use --network {fitting[1]} with --recurrent")
    if name == "cnn" and min(obs.shape[1:3]) < SMALLEST:
        raise ValueError(f"the cnn network needs images of at least {SMALLEST} x {SMALLEST} cells")
    if name == "cnn":
        return CNNNet(num_actions)
    # Worlds without boxes need not say so.
    return EgocentricNet(num_actions, boxes=getattr(world.env, "num_boxes", 0) > 0)


def with_hint(network: Network, world: AgentAxisWrapper) -> HintedNet:
    """The student with a place for the teacher's distribution in its inputs.

    Raises:
        ValueError: the student's inputs are not vectors.
    """
    obs = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype), world.abstract_observation)
    if len(jax.eval_shape(network.prepare, obs).shape) != 1 or getattr(network, "views", False):
        raise ValueError("--guidance hint is for networks whose inputs are vectors, such as egocentric")
    return HintedNet(network, max(world.action_counts))


def _fitting(obs: Any) -> tuple[str, ...]:
    """The built-in networks that can read an observation."""
    if isinstance(obs, MapObservation):
        return "egocentric", "mlp"
    if isinstance(obs, HallwayObservation):
        return ("mlp",)
    if not hasattr(obs, "ndim"):
        return ()
    return ("egocentric", "reference", "cnn") if obs.ndim == 4 else ("mlp",)
