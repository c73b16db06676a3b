"""LLM4RL's executor of plans (arXiv 2306.03604): between two questions, skills go on for several steps."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np

from envs_jax.grid.constants import DOOR, EMPTY, LAVA, Actions
from envs_jax.small_gather import pick
from envs_jax.vector import select_copies
from jaxteach.teacher.action_lists import NO_ACTION, no_actions, rest
from jaxteach.teacher.exploration import Exploration, all_seen, explore_step, not_begun
from jaxteach.teacher.navigation import Map, Pose, ahead, approach, bit, cell_rows, mask_rows, read_map
from jaxteach.teacher.policy import Teacher
from jaxteach.teacher.swap import swap_actions, swap_length
from jaxteach.teacher.table import EXPLORE, FIRST_OBJECT_SKILL, NOTHING_LEFT, OBJECT_SKILLS
from jaxteach.teacher.tasks.doorkey import DoorKeyDomain, newest_frame

GOTO, PICKUP, TOGGLE = (OBJECT_SKILLS.index(skill) for skill in ("goto", "pickup", "toggle"))
OTHER = -1


class Plan(NamedTuple):
    """A plan as it was answered, of at most S skills."""

    skills: jax.Array  # int32[S], as in `SkillTable`, `NOTHING_LEFT` after the last
    targets: jax.Array  # int32[S], the cells of their objects at the time of the question, -1 for none


class Execution(NamedTuple):
    """A plan that is carried out, and what outlasts a plan."""

    plan: Plan
    current: jax.Array  # int32[], the place of the current skill in the plan
    started: jax.Array  # bool[], whether the current skill has acted
    done: jax.Array  # bool[], the plan is done, and a question is due
    passable: jax.Array  # uint32[W], the map on which the last *go to* was planned
    pickup_actions: jax.Array  # int32[L], what is left of a *pick up*, -1 after the last action
    exploration: Exploration
    memory: jax.Array  # the teacher's, as of the last question


class Seen(NamedTuple):
    """What an observation shows of the world, uint32[W] each, and of the agent."""

    world: Map
    passable: jax.Array  # empty cells, goals, open doors, and the agent's own cell, but no lava
    empty: jax.Array
    doors: jax.Array
    pose: Pose
    empty_hands: jax.Array  # bool[]


class SkillStep(NamedTuple):
    """What a skill does in a step."""

    execution: Execution
    action: jax.Array  # int32[]
    acts: jax.Array  # bool[], the skill has something to do; else it is skipped
    finished: jax.Array  # bool[], the skill is finished with this action
    fails: jax.Array  # bool[], it can't be carried out, and ends the plan


@dataclass(frozen=True)
class Executor:
    """Carries out the likeliest plan of a teacher of DoorKey worlds, as LLM4RL does.

    A plan begins with a question. Each step takes an action of the first skill that is not finished. *go to* follows
    the path that it planned at its start. An exploration goes on after a question until a *go to* starts. Where nothing
    is left to do, the action is `Actions.done`, and the plan is done.

    A skill for an object that was never seen is skipped. All methods are pure, and about one world.

    Args:
        teacher: a `Teacher` of a DoorKey task.
    """

    teacher: Teacher

    @property
    def _domain(self) -> DoorKeyDomain:
        return cast(DoorKeyDomain, self.teacher.domain)

    @property
    def _walks(self) -> int:
        """How many steps an agent walks at most to drop something: only the cell beside each door is unfit."""
        return self._domain.vocabulary.num_doors

    def reset(self) -> Execution:
        """The execution at the start of an episode: a question is due."""
        depth = self.teacher.table.plans.shape[-1]
        return Execution(
            plan=Plan(jnp.full(depth, NOTHING_LEFT, jnp.int32), jnp.full(depth, -1, jnp.int32)),
            current=jnp.int32(0),
            started=jnp.bool_(False),
            done=jnp.bool_(True),
            passable=jnp.zeros(self._domain.size[0], jnp.uint32),
            pickup_actions=no_actions(swap_length(self._walks)),
            exploration=not_begun(self._domain.view_size),
            memory=self.teacher.reset(),
        )

    def ask(self, execution: Execution, obs: jax.Array) -> Execution:
        """The execution after a question, with the likeliest plan for what the observation shows.

        Args:
            execution: before it.
            obs: the teacher's observation, uint8[W, H, 4 * frames].
        """
        memory = self.teacher.remember(execution.memory, obs)
        skills, objects = self.teacher.likeliest_plan(memory, obs)
        name = jnp.maximum(skills - FIRST_OBJECT_SKILL, 0) // len(OBJECT_SKILLS)
        cells = pick(objects.targets, pick(self._domain.vocabulary.object_targets, name))
        known = (skills >= FIRST_OBJECT_SKILL) & pick(objects.known, name)
        return execution._replace(
            plan=Plan(skills, jnp.where(known, cells, -1).astype(jnp.int32)),
            current=jnp.int32(0),
            started=jnp.bool_(False),
            done=jnp.bool_(False),
            memory=memory,
        )

    def same_plan(self, one: Plan, other: Plan) -> jax.Array:
        """bool[], whether two plans have the same skills, for objects of the same kind in the same cells."""
        meanings = [pick(self._meanings, plan.skills) for plan in (one, other)]
        return (meanings[0] == meanings[1]).all() & (one.targets == other.targets).all()

    @cached_property
    def _meanings(self) -> np.ndarray:
        """int32[skills], the same number for skills that differ only in the colour of their object."""
        kinds = [name.split()[-1] for name in self._domain.vocabulary.object_names]
        first = [kinds.index(kind) for kind in kinds]
        named = [FIRST_OBJECT_SKILL + len(OBJECT_SKILLS) * i + j for i in first for j in range(len(OBJECT_SKILLS))]
        return np.array([*range(FIRST_OBJECT_SKILL), *named], np.int32)

    def act(self, execution: Execution, obs: jax.Array, coin: jax.Array) -> tuple[Execution, jax.Array]:
        """The next action of the plan.

        Args:
            execution: of a plan that is not done.
            obs: the teacher's observation, uint8[W, H, 4 * frames].
            coin: int32[], 0 or 1; see `explore_step`.

        Returns:
            The execution after the action, and the action int32[].
        """
        seen, depth = self._read(obs), len(execution.plan.skills)

        def is_skipped(step: SkillStep) -> jax.Array:
            return ~step.acts & (step.execution.current + 1 < depth)

        def next_skill(step: SkillStep) -> SkillStep:
            execution = step.execution._replace(current=step.execution.current + 1, started=jnp.bool_(False))
            return self._skill_step(execution, seen, coin)

        step = jax.lax.while_loop(is_skipped, next_skill, self._skill_step(execution, seen, coin))
        after = step.execution.current + 1
        is_last = pick(jnp.append(step.execution.plan.skills, jnp.int32(NOTHING_LEFT)), after) == NOTHING_LEFT
        gives_up = ~step.acts | step.fails
        execution = step.execution._replace(
            current=jnp.where(step.finished, after, step.execution.current),
            started=~step.finished,
            done=gives_up | (step.finished & is_last),
        )
        return execution, jnp.where(gives_up, Actions.done, step.action).astype(jnp.int32)

    def _read(self, obs: jax.Array) -> Seen:
        words, size = newest_frame(obs), self._domain.size
        scene = self._domain.vocabulary.read(words)
        world, kind = read_map(words, scene.agent_cell, size), (words & 0xFF).astype(jnp.int32).reshape(size)
        pose = Pose(scene.agent_cell // size[1], scene.agent_cell % size[1], scene.agent_dir)
        empty = mask_rows(kind == EMPTY)
        return Seen(
            world=world,
            passable=world.passable & ~mask_rows(kind == LAVA),
            empty=empty,
            doors=mask_rows(kind == DOOR),
            pose=pose,
            empty_hands=bit(empty, pose.x, pose.y),
        )

    def _skill_step(self, execution: Execution, seen: Seen, coin: jax.Array) -> SkillStep:
        """What the current skill does."""
        skill, target = (pick(part, execution.current) for part in execution.plan)
        kind = jnp.where(target >= 0, (skill - FIRST_OBJECT_SKILL) % len(OBJECT_SKILLS), OTHER)
        steps = [
            (kind == GOTO, self._go_to(execution, seen, jnp.where(kind == GOTO, target, -1))),
            (kind == PICKUP, self._pick_up(execution, seen)),
            (kind == TOGGLE, _single_action(execution, Actions.toggle)),
            (skill == EXPLORE, self._explore(execution, seen, coin)),
        ]
        chosen = _single_action(execution, Actions.done)._replace(acts=jnp.bool_(False), finished=jnp.bool_(False))
        for matches, step in steps:
            chosen = select_copies(matches, step, chosen)
        return chosen

    def _go_to(self, execution: Execution, seen: Seen, target: jax.Array) -> SkillStep:
        """The next action on a shortest path on the map as it was at the skill's start."""
        height = self._domain.size[1]
        x, y = jnp.where(target >= 0, target // height, -1), target % height
        passable = jnp.where(execution.started, execution.passable, seen.passable)
        action = approach(passable, seen.pose, cell_rows(x, y, self._domain.size), height)
        front = ahead(seen.pose, seen.pose.direction)
        turned = jnp.where(action == Actions.left, -1, jnp.where(action == Actions.right, 1, 0))
        walked = action == Actions.forward
        after = Pose(
            jnp.where(walked, front[0], seen.pose.x),
            jnp.where(walked, front[1], seen.pose.y),
            (seen.pose.direction + turned) & 3,
        )
        front = ahead(after, after.direction)
        begun = execution._replace(
            passable=passable,
            exploration=select_copies(execution.started, execution.exploration, not_begun(self._domain.view_size)),
        )
        return SkillStep(begun, action, action >= 0, (front[0] == x) & (front[1] == y), jnp.bool_(False))

    def _pick_up(self, execution: Execution, seen: Seen) -> SkillStep:
        """A single action with empty hands, else the next of `swap_actions` at the skill's start."""
        planned = swap_actions(seen.pose, seen.empty, seen.doors, self._domain.size[1], self._walks)
        single = jnp.where(np.arange(len(planned)) == 0, jnp.int32(Actions.pickup), NO_ACTION)
        actions = jnp.where(seen.empty_hands, single, planned)
        actions = jnp.where(execution.started, execution.pickup_actions, actions)
        left = rest(actions)
        after, fails = execution._replace(pickup_actions=left), actions[0] == NO_ACTION
        return SkillStep(after, actions[0], jnp.bool_(True), left[0] == NO_ACTION, fails)

    def _explore(self, execution: Execution, seen: Seen, coin: jax.Array) -> SkillStep:
        """A step of an exploration; a room that is seen as a whole needs none, unless the exploration has started."""
        pose, reach = seen.pose, self._domain.view_size // 2
        front = ahead(pose, pose.direction)
        blocked = bit(seen.world.solid, pose.x + (front[0] - pose.x) * reach, pose.y + (front[1] - pose.y) * reach)
        exploration, action = explore_step(execution.exploration, pose.direction, blocked, coin)
        finished = all_seen(seen.world.unseen, seen.world.solid, self._domain.size[1])
        after = execution._replace(exploration=exploration)
        return SkillStep(after, action, execution.started | ~finished, finished, jnp.bool_(False))


def _single_action(execution: Execution, action: Any) -> SkillStep:
    """A skill that is finished with one action."""
    return SkillStep(execution, jnp.int32(action), jnp.bool_(True), jnp.bool_(True), jnp.bool_(False))
