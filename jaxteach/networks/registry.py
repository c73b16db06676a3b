"""The students by name, built in and registered."""

from collections.abc import Callable
from typing import Final

from envs_jax.locked_hallway import Observation as HallwayObservation
from envs_jax.minigrid.map_memory import MapObservation
from envs_jax.wrappers import AgentAxisWrapper
from jaxteach.networks.base import Student, is_student
from jaxteach.networks.egocentric import EgocentricNet
from jaxteach.networks.mlp import MLPNet
from jaxteach.networks.reference import ReferenceNet
from jaxteach.tasks import OBJECT

NETWORKS: Final = ("egocentric", "reference", "mlp")
REGISTERED: Final[dict[str, Callable[[AgentAxisWrapper], Student]]] = {}
"""What makes the networks that users have registered."""

Network = EgocentricNet | ReferenceNet | MLPNet | Student


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
    views = isinstance(obs, HallwayObservation)
    if isinstance(obs, MapObservation) and name != "egocentric":
        raise ValueError(f"the {name} network can't read this task's observations; use --network egocentric")
    if not isinstance(obs, MapObservation | HallwayObservation) and not hasattr(obs, "ndim"):
        raise ValueError(f"the {name} network can't read observations of several arrays; use a network of your own")
    shows_maps = isinstance(obs, MapObservation) or (not views and obs.ndim == 4)
    if shows_maps == (name == "mlp"):
        fitting = "egocentric or reference" if shows_maps else "mlp"
        raise ValueError(f"the {name} network can't read this task's observations; use --network {fitting}")
    if name == "mlp":
        return MLPNet(world.action_counts, views, recurrent)
    (num_actions,) = world.action_counts
    if name == "reference":
        return ReferenceNet(num_actions, recurrent)
    if recurrent:
        raise ValueError("the egocentric network has no recurrence; use --network reference with --recurrent")
    # Worlds without boxes need not say so.
    return EgocentricNet(num_actions, boxes=getattr(world.env, "num_boxes", 0) > 0)
