"""What the teacher knows of a kind of task: how to read observations, remember, name objects, and act."""

from functools import cached_property
from typing import Any, Final, Protocol, runtime_checkable

import jax

NO_CAPTION: Final = -1
UNLISTED: Final = -2
"""The caption where a domain gives a number that is not in its list."""


class Vocabulary(Protocol):
    """The words of a kind of task, for captions and for plans."""

    @cached_property
    def texts(self) -> list[str]:
        """The captions."""
        ...

    @cached_property
    def sees(self) -> list[list[str]]:
        """What each caption names as seen, in its order."""
        ...

    @cached_property
    def holds(self) -> list[str | None]:
        """What each caption names as held."""
        ...

    @cached_property
    def object_names(self) -> list[str]:
        """The names that plans may use."""
        ...

    @property
    def skills(self) -> tuple[str, ...]:
        """The skills that plans may use, of `plans.SKILLS`."""
        ...


@runtime_checkable
class Domain(Protocol):
    """A kind of task as the teacher knows it; every method is pure and about one agent.

    A scene is what one observation shows, a memory what an agent keeps from step to step; both
    are pytrees of the domain's own.

    Attributes:
        num_agents: how many agents share a world; None for a world whose arrays have no axis for agents.
        num_actions: how many actions an agent has.
        noop: the action that does nothing.
    """

    @property
    def vocabulary(self) -> Vocabulary: ...

    @property
    def num_agents(self) -> int | None: ...

    @property
    def num_actions(self) -> int: ...

    @property
    def noop(self) -> int: ...

    def reset(self) -> Any:
        """The memory before an episode's first observation."""

    def read(self, obs: Any) -> Any:
        """The scene that an agent's observation shows."""

    def remember(self, memory: Any, scene: Any) -> Any:
        """The memory after a scene; a scene seen twice without an action between changes nothing more."""

    def advance(self, memory: Any, action: jax.Array) -> Any:
        """The memory after an action, int32[]."""

    def caption_id(self, memory: Any, scene: Any) -> tuple[jax.Array, Any]:
        """The caption, for a memory that has taken the scene in.

        Returns:
            int32[], the caption's place in the vocabulary, -1 for none; and the context that
            `skill_actions` gets, whatever else the domain found out.
        """
        ...

    def object_ids(self, scene: Any, context: Any) -> jax.Array:
        """int32[names], what the names that plans may use stand for, numbered alike for all agents of a world.

        Only what one agent takes from another has a number, such as keys and landmarks; -1 for the rest.
        """
        ...

    def skill_actions(self, memory: Any, scene: Any, context: Any, skills: jax.Array) -> jax.Array:
        """int32[M], the action that each of the skills int32[M] of the table gives, or `FINISHED`."""
        ...


def caption_text(sees: list[str], holds: str | None) -> str:
    """A caption in the reference's words."""
    seen = ", ".join(f"<{name}>" for name in sees) or "<nothing>"
    return f"Agent sees {seen}, holds <{holds or 'nothing'}>."
