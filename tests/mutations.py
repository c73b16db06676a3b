"""Single mistakes that the tests must notice, and what tries them: `python -m tests.mutations`.

Each is put into a copy of the code, and the tests that should notice it are run there.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[1]
LEAST_SHARE: Final = 0.9
"""Of the mistakes, how many must be caught."""
PATIENCE_S: Final = 300
"""A mistake that makes a loop endless is noticed too."""
FAILED, PASSED = 1, 0  # what pytest returns


@dataclass(frozen=True)
class Mutation:
    """One mistake.

    Attributes:
        name: for `--only`.
        what: the mistake in words.
        file: below the repository.
        old: the text that is replaced, which stands there once.
        new: what replaces it.
        tests: the tests that notice it, below `tests/`, with spaces between.
        why: why no test can notice it; "" for a mistake that must be caught.
    """

    name: str
    what: str
    file: str
    old: str
    new: str
    tests: str
    why: str = ""

    def applied_to(self, text: str) -> str:
        """The text of the file with the mistake in it.

        Raises:
            ValueError: the text to replace does not stand there once.
        """
        if text.count(self.old) != 1:
            raise ValueError(f"{self.name}: {self.file} has {self.old!r} {text.count(self.old)} times, not once")
        return text.replace(self.old, self.new)

    @property
    def node_ids(self) -> list[str]:
        return [f"tests/{test}" for test in self.tests.split()]


LEARNING: Final = [
    Mutation(
        "entropy-sign",
        "the entropy is punished",
        "jaxteach/ppo/learner.py",
        '- config.entropy_coef * terms["entropy"]',
        '+ config.entropy_coef * terms["entropy"]',
        "test_mappo.py::test_finished_agents_add_nothing_to_the_gradient",
    ),
    Mutation(
        "recurrent-minibatch-memory",
        "a recurrent minibatch begins with the memory of other environments",
        "jaxteach/ppo/learner.py",
        "leaf[rows], carry)",
        "leaf[: len(rows)], carry)",
        "test_mappo.py::test_a_recurrent_minibatch_has_the_memories_of_its_own_environments",
    ),
    Mutation(
        "policy-loss-max",
        "the better, not the worse of ratio and clipped ratio",
        "jaxteach/ppo/losses.py",
        "jnp.minimum(ratio * advantages",
        "jnp.maximum(ratio * advantages",
        "test_learning.py::test_losses_by_hand",
    ),
    Mutation(
        "policy-loss-one-sided",
        "the ratio is clipped above only",
        "jaxteach/ppo/losses.py",
        "jnp.clip(ratio, 1 - clip, 1 + clip)",
        "jnp.minimum(ratio, 1 + clip)",
        "test_learning.py::test_losses_by_hand",
    ),
    Mutation(
        "value-loss-min",
        "the better, not the worse of value and clipped value",
        "jaxteach/ppo/losses.py",
        "jnp.maximum((values - returns) ** 2",
        "jnp.minimum((values - returns) ** 2",
        "test_learning.py::test_losses_by_hand",
    ),
    Mutation(
        "mean-over-all",
        "finished agents count in the denominator of a mean",
        "jaxteach/ppo/losses.py",
        "jnp.maximum(active.sum(dtype=jnp.int32), 1).astype(jnp.float32)",
        "active.size",
        "test_mappo.py::test_a_mean_over_nobody_is_0",
    ),
    Mutation(
        "kickstarting-axis",
        "the student's distribution is normalised over samples",
        "jaxteach/ppo/losses.py",
        "teacher_probs * jax.nn.log_softmax(logits)",
        "teacher_probs * jax.nn.log_softmax(logits, 0)",
        "test_learning.py::test_losses_by_hand",
    ),
    Mutation(
        "advantages-run-on",
        "advantages reach over the ends of episodes",
        "jaxteach/ppo/gae.py",
        "gamma * lam * (discounts * (1 - last.astype(jnp.float32)))",
        "gamma * lam * discounts",
        "test_learning.py::test_advantages_by_hand",
    ),
    Mutation(
        "advantages-without-gamma",
        "advantages decay by lambda alone",
        "jaxteach/ppo/gae.py",
        "decay = gamma * lam *",
        "decay = lam *",
        "test_learning.py::test_advantages_by_hand",
    ),
    Mutation(
        "truncation-is-an-end",
        "nothing is expected to follow a truncated episode",
        "jaxteach/ppo/gae.py",
        "gamma * (discounts * next_values) - values",
        "gamma * (discounts * next_values) * ~last - values",
        "test_learning.py::test_advantages_by_hand",
    ),
    Mutation(
        "terminated-bootstraps",
        "values count that follow an agent's end",
        "jaxteach/ppo/gae.py",
        "gamma * (discounts * next_values)",
        "gamma * next_values",
        "test_mappo.py::test_truncated_agents_are_bootstrapped_and_finished_ones_are_not",
    ),
    Mutation(
        "ended-agents-go-on",
        "a finished agent's advantages run on to the episode's end",
        "jaxteach/ppo/gae.py",
        "gamma * lam * (discounts * (1 - last.astype(jnp.float32)))",
        "gamma * lam * (1 - last.astype(jnp.float32))",
        "test_mappo.py::test_truncated_agents_are_bootstrapped_and_finished_ones_are_not",
    ),
    Mutation(
        "standardized-over-all",
        "advantages are centred over finished agents too",
        "jaxteach/ppo/learner.py",
        "centred = values - losses.mean(values, active)",
        "centred = values - values.mean()",
        "test_mappo.py::test_advantages_are_standardized_over_the_active_agents",
    ),
    Mutation(
        "returns-without-values",
        "the critic learns advantages",
        "jaxteach/ppo/learner.py",
        "returns = advantages + values",
        "returns = advantages",
        "test_mappo.py::test_truncated_agents_are_bootstrapped_and_finished_ones_are_not",
    ),
    Mutation(
        "rate-falls-too-fast",
        "the learning rate falls by updates, not by gradient steps",
        "jaxteach/ppo/learner.py",
        "iterations * config.epochs * self.minibatches()[1]",
        "iterations * config.epochs",
        "test_mappo.py::test_the_learning_rate_falls_over_all_gradient_steps",
    ),
    Mutation(
        "teacher-stops-late",
        "the teacher is asked one update too long",
        "jaxteach/config.py",
        "jnp.where(count < self.distill_end",
        "jnp.where(count <= self.distill_end",
        "test_learning.py::test_schedules_of_the_teacher_s_weight",
    ),
    Mutation(
        "value-scale-biased",
        "the moving average keeps the bias of its start",
        "jaxteach/ppo/value_norm.py",
        "mean = scale.mean / weight",
        "mean = scale.mean",
        "test_mappo.py::test_values_are_learnt_in_units_of_the_returns_spread",
    ),
    Mutation(
        "value-scale-floor-unit",
        "the least deviation is taken for a variance",
        "jaxteach/ppo/value_norm.py",
        "MIN_STD**2",
        "MIN_STD",
        "test_mappo.py::test_values_are_learnt_in_units_of_the_returns_spread",
    ),
    Mutation(
        "value-scale-of-finished",
        "the squares of finished agents' returns count",
        "jaxteach/ppo/value_norm.py",
        "losses.mean(returns**2, active)",
        "losses.mean(returns**2)",
        "test_mappo.py::test_values_are_learnt_in_units_of_the_returns_spread",
    ),
]

GUIDED: Final = [
    Mutation(
        "shaped-after-the-end",
        "a situation after the end of an episode has a potential",
        "jaxteach/guidance/potential.py",
        "self.config.gamma * steps.discount * following",
        "self.config.gamma * following",
        "test_guidance.py::test_potentials_by_hand test_guidance.py::test_shaping_leaves_the_optimal_policy",
    ),
    Mutation(
        "gated-prior",
        "the loss multiplies the student's policy by gated labels, and not by what the teacher said before the action",
        "jaxteach/ppo/learner.py",
        "prior_probs=advice.probs if",
        "prior_probs=teacher_probs if",
        "test_guidance.py::test_the_ratio_is_that_of_the_policy_that_acted",
    ),
    Mutation(
        "teacher-s-actions-learnt",
        "the policy is improved by the actions of the teacher",
        "jaxteach/ppo/learner.py",
        "_both(trajectory.active, trajectory.by_student)",
        "trajectory.active",
        "test_guidance.py::test_the_policy_is_not_improved_by_the_teacher_s_actions",
    ),
    Mutation(
        "silenced-with-the-schedule",
        "a teacher that is asked before actions falls silent with the schedule, though its values do not fade",
        "jaxteach/ppo/rollout_teacher.py",
        "jax.lax.cond(self.active, query, skip)",
        "jax.lax.cond(self.fade > 0, query, skip)",
        "test_guidance.py::test_bonuses_of_a_rollout",
    ),
    Mutation(
        "values-not-told-apart",
        "runs with other values of situations count as one",
        "jaxteach/teacher/loading.py",
        'return plans.digest_with_values if "potential" in config.ppo.methods else plans.digest',
        "return plans.digest",
        "test_values.py::test_values_are_part_of_what_potential_learns_from",
    ),
]

ROLLOUT: Final = [
    Mutation(
        "final-state-after-reset",
        "truncated episodes are valued by the next episode's first state",
        "jaxteach/ppo/rollout.py",
        'timestep.extras["next_state"], after)',
        "env.env, after)",
        "test_learning.py::test_truncated_episodes_are_bootstrapped_from_their_final_observation",
    ),
    Mutation(
        "final-memory-stale",
        "truncated episodes are valued with the memory before the last step",
        "jaxteach/ppo/rollout.py",
        'timestep.extras["next_state"], after)',
        'timestep.extras["next_state"], actor.carry)',
        "test_mappo.py::test_every_truncation_in_a_rollout_is_valued_with_the_memory_that_it_ends_with",
    ),
    Mutation(
        "too-few-slots",
        "the last of the most truncations that fit a rollout is dropped",
        "jaxteach/ppo/rollout.py",
        "(length - 1) // venv.env.max_steps + 1",
        "max(1, length // venv.env.max_steps)",
        "test_mappo.py::test_every_truncation_in_a_rollout_is_valued_with_the_memory_that_it_ends_with",
    ),
    Mutation(
        "never-active-again",
        "an agent that has finished stays finished in the next episode",
        "jaxteach/ppo/rollout.py",
        "actor.active & ~terminated | last[:, None]",
        "actor.active & ~terminated",
        "test_mappo.py::test_an_agent_is_active_until_it_has_finished",
    ),
    Mutation(
        "one-key-for-all-steps",
        "every step draws its actions with the same key",
        "jaxteach/ppo/rollout.py",
        "jax.random.split(key, length)",
        "jnp.broadcast_to(key, length)",
        "test_learning.py::test_truncated_episodes_are_bootstrapped_from_their_final_observation",
    ),
    Mutation(
        "memory-across-episodes",
        "a memory is not cleared where an episode begins",
        "jaxteach/networks/base.py",
        "select_copies(first, jax.tree.map(jnp.zeros_like, carry), carry)",
        "select_copies(first, carry, carry)",
        "test_mappo.py::test_recurrent_teams_replay_as_they_played[simple_spread]",
    ),
    Mutation(
        "first-flag-of-bootstrap",
        "what follows the rollout is valued as the middle of an episode",
        "jaxteach/ppo/rollout.py",
        "critic.value(actor.obs, actor.first, actor.carry)",
        "critic.value(actor.obs, jnp.zeros_like(actor.first), actor.carry)",
        "test_learning.py::test_recurrent_rollouts_equal_the_network_run_along_them",
        why="where an episode begins after the rollout, the one before has ended, and its own final value is taken",
    ),
]

NETWORKS: Final = [
    Mutation(
        "lstm-layers-share-memory",
        "the second layer begins with the first one's memory",
        "jaxteach/networks/reference.py",
        "first, carry[layer])",
        "first, carry[0])",
        "test_learning.py::test_recurrent_rollouts_equal_the_network_run_along_them",
    ),
    Mutation(
        "actor-without-name",
        "agents are not told who they are",
        "jaxteach/networks/mlp.py",
        "jnp.concatenate([features, agent_ids], -1)",
        "jnp.concatenate([features, agent_ids * 0], -1)",
        "test_mappo.py::test_agents_are_told_who_they_are",
    ),
    Mutation(
        "impossible-action-allowed",
        "one action too many is possible",
        "jaxteach/networks/mlp.py",
        "dtype=np.int32) < counts[:, None]",
        "dtype=np.int32) <= counts[:, None]",
        "test_mappo.py::test_actions_that_an_agent_does_not_have_are_never_taken[simple_speaker_listener]",
    ),
    Mutation(
        "features-right-and-left",
        "left and right are exchanged for an agent that looks south or north",
        "jaxteach/networks/features.py",
        "[along_y, flipped_x, flipped_y, along_x]",
        "[along_y, along_x, flipped_y, flipped_x]",
        "test_learning.py::test_features_turn_with_the_agent",
    ),
    Mutation(
        "features-turn-the-other-way",
        "the square around the agent turns the wrong way",
        "jaxteach/networks/features.py",
        "jnp.rot90(near, -turn, (1, 2))",
        "jnp.rot90(near, turn, (1, 2))",
        "test_learning.py::test_features_turn_with_the_agent",
    ),
    Mutation(
        "features-carried-counts-outside",
        "what the agent carries counts in the rows and columns of the world",
        "jaxteach/networks/features.py",
        "others = jnp.where(is_agent, jnp.uint8(0), channels)",
        "others = channels",
        "test_learning.py::test_what_the_agent_carries_shows_in_its_own_cell_only",
    ),
    Mutation(
        "view-direction-of-doors",
        "the state of a door is read as an agent's direction",
        "jaxteach/networks/features.py",
        "& (kind == AGENT)[..., None]",
        "& (kind != WALL)[..., None]",
        "test_mappo.py::test_features_of_a_view_by_hand",
    ),
    Mutation(
        "convolution-gradient-not-turned",
        "the gradient for the image uses the kernel as it is",
        "jaxteach/networks/convolution.py",
        "kernel[::-1, ::-1].swapaxes(2, 3)",
        "kernel.swapaxes(2, 3)",
        "test_learning.py::test_the_convolution_is_flax_s[6]",
    ),
    Mutation(
        "convolution-last-chunk",
        "the gradient for the kernel is the last chunk's alone",
        "jaxteach/networks/convolution.py",
        "total + product(*chunk)",
        "product(*chunk)",
        "test_learning.py::test_the_convolution_is_flax_s[8]",
    ),
]

TEACHER: Final = [
    Mutation(
        "plans-not-normalised",
        "plans keep probabilities whose sum is not quite 1",
        "jaxteach/teacher/table.py",
        "plan.probability / total",
        "plan.probability",
        "test_teacher.py::test_rounded_probabilities_become_a_sum_of_1",
    ),
    Mutation(
        "unknown-caption-has-weight",
        "an observation outside the table is taught as the first caption",
        "jaxteach/teacher/policy.py",
        "jnp.where(caption < 0, 0, weights)",
        "weights",
        "test_teacher.py::test_an_observation_outside_the_list_of_captions_teaches_nothing",
    ),
    Mutation(
        "silent-counts-nobody",
        "observations without a caption count for the first one",
        "jaxteach/ppo/distillation.py",
        "jnp.where(captions < 0, count, captions)",
        "jnp.maximum(captions, 0)",
        "test_mappo.py::test_silent_captions_by_hand",
    ),
    Mutation(
        "labels-remember-too-long",
        "the teacher's memory is not emptied where an episode begins",
        "jaxteach/teacher/policy.py",
        "            memory = select_copies(first, self.reset(), memory)\n            memory = jax.vmap(self._each(",
        "            memory = jax.vmap(self._each(",
        "test_teacher.py::test_labels_of_trajectories_equal_the_teacher_step_by_step[SimpleDoorKey]",
    ),
    Mutation(
        "last-skill-first",
        "a plan's last skill is tried first",
        "jaxteach/teacher/policy.py",
        "for i in reversed(range(plans.shape[1])):",
        "for i in range(plans.shape[1]):",
        "test_teacher_traces.py::test_unique_actions_equal_the_recorded_distribution[SimpleDoorKey]",
    ),
    Mutation(
        "hard-teacher-log",
        "the hard teacher draws by probabilities as if they were logits",
        "jaxteach/teacher/policy.py",
        "jax.random.categorical(key, jnp.log(weights))",
        "jax.random.categorical(key, weights)",
        "test_teacher_traces.py::test_hard_teacher_draws_plans_by_their_probabilities",
    ),
    Mutation(
        "company-in-order",
        "plans for company hold for one order of the others alone",
        "jaxteach/teacher/table.py",
        "theirs = sorted(_caption_number(other, known) for other in entry.others)",
        "theirs = [_caption_number(other, known) for other in entry.others]",
        "test_debate.py::test_joint_plans_need_their_situation",
    ),
    Mutation(
        "caption-of-held-key",
        "a held key gets the number of the door's colour",
        "jaxteach/teacher/tasks/doorkey_captions.py",
        "_place(named, scene.held_color)",
        "_place(named, scene.door_colors[0])",
        "test_teacher_traces.py::test_captions",
    ),
    Mutation(
        "door-of-every-key",
        "every named colour has the door that is seen",
        "jaxteach/teacher/tasks/doorkey_captions.py",
        "(scene.door_cells[0] >= 0) & (named == scene.door_colors[0])",
        "(scene.door_cells[0] >= 0) & (named >= 0)",
        "test_teacher.py::test_a_door_has_one_colour",
    ),
    Mutation(
        "captions-that-cannot-occur",
        "the list has captions of keys that are not there",
        "jaxteach/teacher/tasks/doorkey_captions.py",
        "if hidden > 1 and door == keys + 1:",
        "if hidden > 0 and door == keys + 1:",
        "test_teacher.py::test_colored_captions_are_those_that_can_occur",
    ),
    Mutation(
        "key-beside-the-box-it-is-in",
        "the list has captions of a key beside the box that holds it",
        "jaxteach/teacher/tasks/doorkey_captions.py",
        "and not (self.boxed_key and boxes and keys + held)",
        "and not (self.boxed_key and boxes and keys)",
        "test_teacher.py::test_captions_with_a_box_are_those_that_can_occur",
    ),
    Mutation(
        "unseen-key-has-no-place",
        "a key that was never seen is not looked for in the box",
        "jaxteach/teacher/tasks/doorkey_captions.py",
        "jnp.where(memory[:1] >= 0, memory[:1], memory[-1:])",
        "memory[:1]",
        "test_teacher.py::test_a_key_that_was_never_seen_is_where_the_box_is",
    ),
    Mutation(
        "boxes-unseen",
        "the student takes a box for an empty cell",
        "jaxteach/networks/registry.py",
        'boxes=getattr(world.env, "num_boxes", 0) > 0',
        "boxes=False",
        "test_learning.py::test_boxes_have_a_channel_where_the_world_has_them",
    ),
    Mutation(
        "explore-reach",
        "exploring looks a whole view ahead, not half",
        "jaxteach/teacher/navigation.py",
        "reach = view_size // 2",
        "reach = view_size",
        "test_teacher_traces.py::test_plans_and_their_actions",
    ),
    Mutation(
        "through-closed-doors",
        "the way leads through closed doors",
        "jaxteach/teacher/navigation.py",
        "(kind == DOOR) & ((words >> 16) & 0xFF == OPEN)",
        "kind == DOOR",
        "test_teacher.py::test_a_map_shows_where_one_can_walk",
    ),
    Mutation(
        "left-and-right",
        "the way turns right where left is the shorter",
        "jaxteach/teacher/navigation.py",
        "(pose.direction, (pose.direction + 3) & 3)",
        "(pose.direction, (pose.direction + 1) & 3)",
        "test_teacher.py::test_first_actions_of_shortest_paths",
    ),
    Mutation(
        "map-wraps",
        "every map is a torus",
        "jaxteach/teacher/navigation.py",
        "rows[:1] if wraps else none",
        "rows[:1]",
        "test_teacher.py::test_neighbours_at_the_edges",
    ),
    Mutation(
        "probability-zero",
        "a plan may have probability 0",
        "jaxteach/teacher/plans.py",
        "Annotated[float, Meta(gt=0, le=1)]",
        "Annotated[float, Meta(ge=0, le=1)]",
        "test_teacher.py::test_bad_plan_files_get_one_sentence",
    ),
    Mutation(
        "nearest-by-sign",
        "things to the north count as nearer than they are",
        "jaxteach/teacher/tasks/hallway.py",
        "jnp.abs(cells % STRIDE - own % STRIDE)",
        "(cells % STRIDE - own % STRIDE)",
        "test_hallway_teacher.py::test_what_is_nearest_by_hand",
    ),
    Mutation(
        "door-of-the-held-key",
        "the door of the key in hand is told as one without a key",
        "jaxteach/teacher/tasks/hallway.py",
        "locked & ~lying & ~in_hand",
        "locked & ~lying",
        "test_hallway_teacher.py::test_captions_of_drawn_worlds",
    ),
    Mutation(
        "keys-never-forgotten",
        "a key that was taken away is still remembered",
        "jaxteach/teacher/tasks/hallway_map.py",
        "jnp.where(gone, NOTHING, memory.key_cell)",
        "memory.key_cell",
        "test_hallway_teacher.py::test_a_caption_remembers_what_is_out_of_view_and_forgets_what_is_gone",
    ),
    Mutation(
        "dead-reckoning-alone",
        "a step that another made possible goes unnoticed",
        "jaxteach/teacher/tasks/hallway_map.py",
        "jnp.where(here == there, free, there < here)",
        "free",
        "test_hallway_teacher.py::test_a_step_that_another_made_possible_is_noticed",
    ),
    Mutation(
        "taken-by-whoever-is-nearer",
        "a landmark is taken though the nearer agent heads for another",
        "jaxteach/teacher/tasks/spread.py",
        "(heads_for & (theirs < own[None]))",
        "(theirs < own[None])",
        "test_spread_teacher.py::test_captions_of_drawn_worlds",
    ),
    Mutation(
        "push-carries-too-far",
        "a push is judged as if it had acted a step earlier",
        "jaxteach/teacher/tasks/spread.py",
        "kept ** (FORESIGHT - 1)",
        "kept**FORESIGHT",
        "test_spread_teacher.py::test_a_push_by_hand",
    ),
]

GRIDS: Final = [
    Mutation(
        "reward-of-the-step-before",
        "the reward is that of the step before",
        "envs_jax/minigrid/environment.py",
        "spent = state.step_count.astype(jnp.float32)",
        "spent = (state.step_count - 1).astype(jnp.float32)",
        "test_doorkey_traces.py::test_every_recorded_transition[SimpleDoorKey]",
    ),
    Mutation(
        "truncated-a-step-late",
        "episodes last a step longer",
        "envs_jax/minigrid/environment.py",
        "last = terminated | (state.step_count >= self.max_steps)",
        "last = terminated | (state.step_count > self.max_steps)",
        "test_invariants.py::test_invariants_hold[LavaDoorKey]",
    ),
    Mutation(
        "frames-newest-first",
        "the newest frame falls out of the stack",
        "envs_jax/minigrid/historical.py",
        "[state.history[1:], ",
        "[state.history[:-1], ",
        "test_doorkey_api.py::test_frames_are_stacked_oldest_first",
    ),
    Mutation(
        "key-before-the-door",
        "coloured keys may block the door",
        "envs_jax/doorkey.py",
        "taken + [by_door] * self.keys_avoid_door",
        "taken",
        "test_doorkey_resets.py::test_colored_keys_and_lava_keep_off_the_door",
    ),
    Mutation(
        "colours-repeat",
        "two keys may have one colour",
        "envs_jax/doorkey.py",
        "layout.rand_free(NUM_COLORS, colors)",
        "layout.rand_int(0, NUM_COLORS)",
        "test_doorkey_resets.py::test_every_key_has_a_colour_of_its_own",
    ),
    Mutation(
        "place-on-what-is-there",
        "the first free place is one that is taken",
        "envs_jax/grid/placement.py",
        "(chosen >= number) & is_fresh",
        "(chosen > number) & is_fresh",
        "test_doorkey_resets.py::test_every_key_has_a_colour_of_its_own",
    ),
    Mutation(
        "two-keys-in-hand",
        "a key is picked up though the hands are full",
        "envs_jax/grid/actions.py",
        "can_pickup(word) & empty_handed",
        "can_pickup(word)",
        "test_minigrid.py::test_a_walk_with_two_keys_equals_minigrid_s",
    ),
    Mutation(
        "dropped-into-walls",
        "a key is dropped where something stands",
        "envs_jax/grid/actions.py",
        "(word == EMPTY_WORD) & ~empty_handed",
        "~empty_handed",
        "test_minigrid.py::test_random_walks_equal_minigrid_s[SimpleDoorKey-3]",
    ),
    Mutation(
        "every-key-fits",
        "a key of any colour opens the door",
        "envs_jax/grid/actions.py",
        "(kind_of(carrying) == KEY) & (color_of(carrying) == color_of(word))",
        "kind_of(carrying) == KEY",
        "test_minigrid.py::test_a_walk_with_two_keys_equals_minigrid_s",
    ),
    Mutation(
        "light-stops-early",
        "light goes half way along a row",
        "envs_jax/grid/visibility.py",
        "(length - 1).bit_length()",
        "(length - 1).bit_length() - 1",
        "test_minigrid.py::test_light_spreads_as_minigrid_s",
    ),
    Mutation(
        "no-light-on-diagonals",
        "light does not go diagonally to the next row",
        "envs_jax/grid/visibility.py",
        "lit = (runs | beside) & window",
        "lit = runs & window",
        "test_minigrid.py::test_light_spreads_as_minigrid_s",
    ),
    Mutation(
        "open-doors-stop-light",
        "an open door stops light as the wall that it is in",
        "envs_jax/grid/cells.py",
        "(kind_of(word) == DOOR) & (state_of(word) != OPEN)",
        "(kind_of(word) == DOOR)",
        "test_minigrid.py::test_a_walk_through_a_door_equals_minigrid_s[3]",
    ),
    Mutation(
        "hidden-behind-agents",
        "a closed door in which an agent stands stops light",
        "envs_jax/grid/views.py",
        "opaque & ~bits[1], opaque)",
        "opaque, opaque)",
        "test_locked_hallway.py::test_every_transition_of_the_package",
    ),
    Mutation(
        "door-rewarded-twice",
        "two agents that toggle one door are both rewarded",
        "envs_jax/locked_hallway.py",
        "!= LOCKED) & ~unlocked",
        "!= LOCKED) & (state.facts == 0)",
        "test_locked_hallway.py::test_every_transition_of_the_package",
    ),
    Mutation(
        "order-never-changes",
        "the agents act in the same order in all steps",
        "envs_jax/locked_hallway.py",
        "state._replace(key=next_key), _draw_row",
        "state, _draw_row",
        "test_locked_hallway.py::test_the_order_is_any_order[2]",
    ),
    Mutation(
        "keys-share-a-place",
        "the earliest of the other keys in a room is forgotten",
        "envs_jax/locked_hallway.py",
        "max(self.max_hallway_keys, self.max_keys_per_room) - 1",
        "max(self.max_hallway_keys, self.max_keys_per_room) - 2",
        "test_locked_hallway.py::test_fresh_layouts_are_distributed_as_recorded",
    ),
    Mutation(
        "dropped-onto-agents",
        "a key is dropped where another agent stands",
        "envs_jax/grid/actions.py",
        "~empty_handed & ~crowded",
        "~empty_handed",
        "test_locked_hallway.py::test_every_transition_of_the_package",
    ),
]

PARTICLES: Final = [
    Mutation(
        "speed-limit-by-axis",
        "the speed is limited on each axis",
        "envs_jax/mpe/world.py",
        "p_vel * (world.max_speed / jnp.maximum(norm(p_vel), world.max_speed))[:, None]",
        "jnp.clip(p_vel, -world.max_speed[:, None], world.max_speed[:, None])",
        "test_mpe.py::test_every_transition",
    ),
    Mutation(
        "damped-after-the-push",
        "a push is damped in its own step",
        "envs_jax/mpe/world.py",
        "p_vel * (1 - DAMPING * moves) + force * TIME_STEP",
        "(p_vel + force * TIME_STEP) * (1 - DAMPING * moves)",
        "test_mpe.py::test_every_transition",
    ),
    Mutation(
        "touching-oneself",
        "every agent touches itself",
        "envs_jax/mpe/simple_spread.py",
        "rows, rows) & ~np.eye(self.num_agents, dtype=bool)",
        "rows, rows)",
        "test_mpe.py::test_every_transition",
    ),
    Mutation(
        "adversary-is-good",
        "the adversary counts among the good agents",
        "envs_jax/mpe/simple_adversary.py",
        "distance[1:].min()",
        "distance.min()",
        "test_mpe.py::test_every_transition",
    ),
    Mutation(
        "own-goal",
        "an agent is rewarded for the goal that it knows",
        "envs_jax/mpe/simple_reference.py",
        "state.p_pos[1::-1]",
        "state.p_pos[:2]",
        "test_mpe.py::test_every_transition",
    ),
    Mutation(
        "silence-is-wrong",
        "silence is an error",
        "envs_jax/mpe/simple_crypto.py",
        "jnp.where((state.c == 0).all(-1), 0, error)",
        "error",
        "test_mpe.py::test_every_transition",
    ),
    Mutation(
        "leader-is-blind",
        "the leader sees into no forest",
        "envs_jax/mpe/simple_world_comm.py",
        "(in_open[:, None] & in_open[None, :]) | leads",
        "(in_open[:, None] & in_open[None, :])",
        "test_mpe.py::test_every_transition",
    ),
    Mutation(
        "success-at-the-limit",
        "a success in the last step terminates, though the episode is truncated",
        "envs_jax/mpe/environment.py",
        "self.succeeds(state) & ~truncated if",
        "self.succeeds(state) if",
        "test_mpe.py::test_a_success_in_the_last_step_is_no_terminal_state",
    ),
    Mutation(
        "no-clipping",
        "continuous actions may be any numbers",
        "envs_jax/mpe/environment.py",
        "jnp.clip(action, 0.0, 1.0)",
        "action",
        "test_mpe.py::test_continuous_actions_are_clipped",
    ),
    Mutation(
        "nearest-along-x",
        "the nearest are those nearest along x",
        "envs_jax/mpe/observe.py",
        "jnp.argsort(norm(offsets), axis=-1)",
        "jnp.argsort(jnp.abs(offsets[..., 0]), axis=-1)",
        "test_mpe.py::test_every_transition",
    ),
    Mutation(
        "far-out-costs-any",
        "the cost of being far out has no bound",
        "envs_jax/mpe/chase.py",
        "jnp.minimum(jnp.exp(jnp.minimum(2 * far - 2, 3)), 10)",
        "jnp.exp(2 * far - 2)",
        "test_mpe.py::test_every_transition",
    ),
]

VECTORS: Final = [
    Mutation(
        "running-ones-reset",
        "environments that run are reset together with finished ones",
        "envs_jax/vector.py",
        "jnp.where(waits > 0, chosen, here)",
        "chosen",
        "test_vector.py::test_finished_environments_start_the_layouts_of_their_own_keys[130]",
    ),
    Mutation(
        "observation-before-reset",
        "after an end the last observation is shown again",
        "envs_jax/vector.py",
        "jax.vmap(self.env.observe)(states)",
        "jax.vmap(self.env.observe)(stepped)",
        "test_vector.py::test_finished_environments_start_the_layouts_of_their_own_keys[8]",
    ),
    Mutation(
        "lengths-run-on",
        "an episode's sums go on in the next",
        "envs_jax/vector.py",
        "cleared = select_copies(last, (jnp.zeros_like(returns), jnp.zeros_like(lengths)), (returns, lengths))",
        "cleared = (returns, lengths)",
        "test_vector.py::test_finished_environments_start_the_layouts_of_their_own_keys[8]",
    ),
    Mutation(
        "one-layout-for-all",
        "all environments begin with one layout",
        "envs_jax/vector.py",
        "jax.vmap(self.env.reset)(jax.random.split(key, self.num_envs))",
        "jax.vmap(self.env.reset)(jnp.stack([key] * self.num_envs))",
        "test_doorkey_api.py::test_reset_environments_differ_and_play_on_like_single_ones",
    ),
]

FILES: Final = [
    Mutation(
        "oldest-checkpoints-kept",
        "the oldest checkpoints are kept",
        "jaxteach/runs/checkpoints.py",
        "[-KEPT_CHECKPOINTS:]",
        "[:KEPT_CHECKPOINTS]",
        "test_resume.py::test_the_last_checkpoints_are_kept_and_leftovers_removed",
    ),
    Mutation(
        "oldest-checkpoint-first",
        "a run goes on with its oldest checkpoint",
        "jaxteach/runs/checkpoints.py",
        "for step in reversed(steps) if iteration is None",
        "for step in steps if iteration is None",
        "test_resume.py::test_a_damaged_checkpoint_is_named_and_passed_over",
    ),
    Mutation(
        "digest-not-compared",
        "a file of the right size is believed",
        "jaxteach/runs/manifest.py",
        "or _digest(file) != listed",
        "",
        "test_resume.py::test_a_damaged_checkpoint_is_named_and_passed_over",
    ),
    Mutation(
        "extra-file-believed",
        "a file that the manifest does not list is passed over",
        "jaxteach/runs/manifest.py",
        "for name in sorted({*listed, *found}):",
        "for name in sorted(listed):",
        "test_card.py::test_a_damaged_folder_is_refused_with_the_files_name",
    ),
    Mutation(
        "card-of-others-replaced",
        "a card replaces that of other plans",
        "jaxteach/reports/card_command.py",
        "if known is not None and known.digest_with_values == plans.digest_with_values:",
        "if known is not None:",
        "test_card.py::test_a_folder_of_somebody_else_stays_as_it_is",
    ),
    Mutation(
        "larger-share-overlaps",
        "the overlap takes the larger of two probabilities",
        "jaxteach/reports/agreement.py",
        "min(p[plan], q[plan])",
        "max(p[plan], q[plan])",
        "test_card.py::test_an_overlap_by_hand",
    ),
    Mutation(
        "last-point-dropped",
        "the point of the checkpoint itself is dropped",
        "jaxteach/runs/metrics_log.py",
        'row["iteration"] <= iteration',
        'row["iteration"] < iteration',
        "test_resume.py::test_metrics_go_on_after_the_checkpoint_without_gap_or_repeat",
    ),
    Mutation(
        "torn-line-is-damage",
        "a line that was cut off by a kill is damage",
        "jaxteach/runs/metrics_log.py",
        "if number < len(lines):",
        "if number <= len(lines):",
        "test_resume.py::test_metrics_go_on_after_the_checkpoint_without_gap_or_repeat",
    ),
    Mutation(
        "variance-of-mean",
        "the mean is not squared in the variance",
        "jaxteach/runs/run_writer.py",
        "square - mean**2",
        "square - mean",
        "test_run_writer.py::test_an_iteration_by_hand",
    ),
    Mutation(
        "length-of-all-episodes",
        "the length of an iteration's episodes is their sum",
        "jaxteach/runs/run_writer.py",
        '{"episode_length": length, ',
        '{"episode_length": length * episodes, ',
        "test_run_writer.py::test_an_iteration_by_hand",
    ),
    Mutation(
        "threshold-passed",
        "a success rate that equals the threshold has not reached it",
        "jaxteach/reports/curves.py",
        "self.success_rate >= threshold",
        "self.success_rate > threshold",
        "test_commands.py::test_areas_by_hand",
    ),
    Mutation(
        "area-over-last",
        "the area is divided by the last iteration, not by the span",
        "jaxteach/reports/curves.py",
        "float(self.iteration[-1] - self.iteration[0])",
        "float(self.iteration[-1])",
        "test_commands.py::test_areas_by_hand",
    ),
    Mutation(
        "summary-of-before",
        "a run that went on shows the final figures of before",
        "jaxteach/reports/curves.py",
        'judged is not None and judged["env_steps"] == rows[-1]["env_steps"]',
        "judged is not None",
        "test_report.py::test_final_figures_are_those_of_the_finished_student",
    ),
    Mutation(
        "mean-of-the-middle-tenth",
        "too much is cut off on both sides",
        "jaxteach/reports/statistics.py",
        "np.concatenate(samples, axis), 0.25, axis",
        "np.concatenate(samples, axis), 0.45, axis",
        "test_report.py::test_an_interval_by_hand",
    ),
    Mutation(
        "later-run-wins",
        "of one seed's curves the later run's is taken",
        "jaxteach/reports/aggregate.py",
        "curves = run.seeds | curves",
        "curves = curves | run.seeds",
        "test_report.py::test_runs_that_differ_only_in_seeds_are_one_line",
    ),
]

PLAYING: Final = [
    Mutation(
        "paid-after-the-end",
        "rewards count that come after an episode's end",
        "jaxteach/ppo/episodes.py",
        "jnp.where(running, timestep.reward.mean(-1), 0)",
        "timestep.reward.mean(-1)",
        "test_learning.py::test_the_teacher_succeeds_as_often_as_the_reference_s[SimpleDoorKey-0.98-1.0]",
    ),
    Mutation(
        "last-action-never-random",
        "the last action is never drawn",
        "jaxteach/ppo/episodes.py",
        "limits = jnp.broadcast_to(counts, action.shape)",
        "limits = jnp.broadcast_to(counts - 1, action.shape)",
        "test_mappo.py::test_actions_that_an_agent_does_not_have_are_never_taken[simple_speaker_listener]",
    ),
    Mutation(
        "silent-teacher-turns",
        "a silent teacher takes the first action",
        "jaxteach/ppo/episodes.py",
        "jnp.where(uncovered, teacher.domain.noop, action)",
        "jnp.where(uncovered, 0, action)",
        "test_teacher.py::test_a_silent_teacher_waits",
    ),
    Mutation(
        "films-lag",
        "a film's first frame is overwritten",
        "jaxteach/ppo/episodes.py",
        "film.at[count + 1].set(leaf)",
        "film.at[count].set(leaf)",
        "test_mappo.py::test_films_of_teams_show_states",
    ),
]

MODELS: Final = [
    Mutation(
        "one-skill-less",
        "the longest plan allowed is refused",
        "jaxteach/llm/parse.py",
        "len(answer.items) > MAX_SKILLS",
        "len(answer.items) >= MAX_SKILLS",
        "test_llm_answers.py::test_an_answer_is_read",
    ),
    Mutation(
        "thoughts-are-answers",
        "a plan in a thought is taken for the answer",
        "jaxteach/llm/final_answer.py",
        "(thoughts if inside else spoken).append(text[start:])",
        "spoken.append(text[start:])",
        "test_final_answer.py::test_a_text_that_ends_too_early_is_cut_off",
    ),
    Mutation(
        "grammar-one-step-more",
        "the grammar allows a step too many",
        "jaxteach/llm/grammar.py",
        "{{0,{MAX_STEPS - 1}}}",
        "{{0,{MAX_STEPS}}}",
        "test_llm_local.py::test_the_grammar_allows_exactly_what_may_follow",
    ),
    Mutation(
        "candidates-repeat-themselves",
        "a move is followed by itself",
        "jaxteach/llm/grammar.py",
        "for one, other in product(moves, moves) if one != other",
        "for one, other in product(moves, moves)",
        "test_llm_answers.py::test_plans_are_asked_for_in_words_that_are_read_as_them[SimpleDoorKey]",
    ),
    Mutation(
        "samples-are-one",
        "all samples of a question have one answer",
        "jaxteach/llm/answer_cache.py",
        "self._known[asker, _digest(question.prompt), question.sample] = answer",
        "self._known[asker, _digest(question.prompt), 0] = answer",
        "test_llm_answers.py::test_nothing_is_asked_twice",
    ),
    Mutation(
        "torn-answer-eats-the-next",
        "what is left of a line that was cut off stays in the file",
        "jaxteach/llm/answer_cache.py",
        'file.truncate(self.path.stat().st_size - len(line.encode("utf-8")))',
        "file.truncate(self.path.stat().st_size)",
        "test_llm_answers.py::test_an_answer_cut_off_by_a_kill_is_asked_for_again",
    ),
    Mutation(
        "any-model-s-answers",
        "another model's answers are taken for this one's",
        "jaxteach/llm/answer_cache.py",
        "asker = _digest(client.identity)",
        'asker = _digest("")',
        "test_llm_answers.py::test_another_model_or_question_is_asked_anew",
    ),
    Mutation(
        "samples-beyond-the-choices-are-lost",
        "a server that ignores n leaves questions without an answer",
        "jaxteach/llm/openai_client.py",
        "empty + self._split(group[len(choices) :])",
        "empty",
        "test_llm_samples.py::test_a_server_that_ignores_n_is_asked_singly_from_then_on",
    ),
    Mutation(
        "empty-choice-is-lost",
        "an empty choice among others is not asked for again",
        "jaxteach/llm/openai_client.py",
        "empty + self._split(group[len(choices) :])",
        "self._split(group[len(choices) :])",
        "test_llm_samples.py::test_each_choice_is_an_answer_of_its_own",
    ),
    Mutation(
        "n-at-temperature-0",
        "the same answer is paid for several times in one request",
        "jaxteach/llm/openai_client.py",
        "if self.sampling.temperature == 0:",
        "if self.sampling.temperature < 0:",
        "test_llm_samples.py::test_at_temperature_0_each_question_is_a_request",
    ),
    Mutation(
        "n-is-blamed",
        "a server that refuses unknown fields is asked for one answer at a time",
        "jaxteach/llm/accepted_fields.py",
        " and not any(name in text for name in NEUTRAL_SAMPLING)",
        "",
        "test_llm_samples.py::test_a_server_that_refuses_unknown_fields_is_asked_without_them",
    ),
    Mutation(
        "one-refusal-for-all",
        "a refused prompt makes a server's own penalties apply to all others",
        "jaxteach/llm/accepted_fields.py",
        """        if not self._neutral_settled:
            self.neutral = True
""",
        "",
        "test_llm_samples.py::test_a_refused_prompt_changes_nothing_for_the_others",
    ),
    Mutation(
        "scores-begin-early",
        "the last token of the prompt is scored with the answer, in place of the answer's last",
        "jaxteach/llm/server_scoring.py",
        "row[len(p) : len(p) + len(c)]",
        "row[len(p) - 1 : len(p) + len(c) - 1]",
        "test_server_scoring.py::test_scores_are_the_servers_log_likelihoods",
    ),
    Mutation(
        "choices-in-any-order",
        "scores are taken for those of other pairs",
        "jaxteach/llm/server_scoring.py",
        'choices = sorted(answer["choices"], key=lambda choice: choice["index"])',
        'choices = answer["choices"]',
        "test_server_scoring.py::test_scores_are_the_servers_log_likelihoods",
    ),
    Mutation(
        "all-pairs-before-the-first",
        "a server is asked about all pairs before it is known that it can answer",
        "jaxteach/llm/server_scoring.py",
        "([first[:1]], [first[1:], *others])",
        "([first, *others],)",
        "test_server_scoring.py::test_a_server_without_log_probs_is_refused_after_one_pair",
    ),
    Mutation(
        "known-tokens-are-forgotten",
        "the tokens of answers from an earlier run are not counted",
        "jaxteach/llm/answer_cache.py",
        """                self.reused += 1
                self._count(answer)
""",
        """                self.reused += 1
""",
        "test_costs.py::test_a_resumed_run_counts_cached_answers",
    ),
]

MINIGRID: Final = [
    Mutation(
        "map-leaks",
        "the map around an agent shows cells of its torus that it has not seen",
        "envs_jax/minigrid/map_memory.py",
        "words = jnp.where(known, seen.words[cell_of(positions, size)], np.uint32(0))",
        "words = seen.words[cell_of(positions, size)]",
        "test_minigrid_map.py::test_the_map_is_what_was_seen_of_the_grid[ObstructedMaze-1Dlhb]",
    ),
    Mutation(
        "hands-on-the-ground",
        "what an agent carries lies on its map",
        "envs_jax/minigrid/map_memory.py",
        "jnp.where(seen.words[own] == UNSEEN, EMPTY_WORD, seen.words[own])",
        "words[own]",
        "test_minigrid_map.py::test_the_view_lies_on_the_map",
    ),
    Mutation(
        "every-step-succeeds",
        "an agent believes to walk through walls and objects",
        "envs_jax/minigrid/map_memory.py",
        "walks = (action == Actions.forward) & can_overlap(seen.words[cell_of(front, size)])",
        "walks = action == Actions.forward",
        "test_minigrid_map.py::test_a_blocked_step_moves_nobody_on_the_map",
    ),
    Mutation(
        "explore-stops-at-objects",
        "explore does not look past an object",
        "jaxteach/teacher/tasks/minigrid.py",
        "explore_targets=jnp.where((unseen & reach).any(), unseen, self._items(known) & self._near(unseen)),",
        "explore_targets=unseen,",
        "test_minigrid_skills.py::test_explore_looks_past_an_object",
    ),
    Mutation(
        "doors-are-never-unlocked",
        "a key is not known to be used",
        "jaxteach/teacher/tasks/minigrid.py",
        "memory.unlocked | (opened & (colors",
        "memory.unlocked & (opened & (colors",
        "test_minigrid_skills.py::test_a_key_is_used_once_its_door_was_seen_to_open",
    ),
    Mutation(
        "bits-beyond-the-map",
        "bits above a map's rows block the cells beside them, so that things are dropped in the way",
        "jaxteach/teacher/tasks/minigrid.py",
        "blocked = ~self._passable(known) & np.uint32((1 << self.size[1]) - 1)",
        "blocked = ~self._passable(known)",
        "test_minigrid_skills.py::test_things_are_dropped_in_the_open_and_not_before_a_door",
    ),
    Mutation(
        "dropped-anywhere",
        "things are dropped where they block a corridor",
        "jaxteach/teacher/tasks/minigrid.py",
        "return self._cells(_first_of(in_the_open, dead_ends, empty))",
        "return self._cells(empty)",
        "test_minigrid_skills.py::test_things_are_dropped_in_the_nearest_dead_end_of_a_corridor",
    ),
    Mutation(
        "doors-with-unseen-behind",
        "explore opens doors",
        "jaxteach/teacher/tasks/minigrid.py",
        "closed = mask_rows(doors & (known.state == CLOSED)) & ~self._near(mask_rows(known.kind == UNSEEN))",
        "closed = mask_rows(doors & (known.state == CLOSED))",
        "test_minigrid_skills.py::test_explore_sees_all_that_can_be_reached",
    ),
    Mutation(
        "single-key-twice",
        "captions name a single key as seen and held, or twice",
        "jaxteach/teacher/tasks/minigrid_captions.py",
        "for thing in named) < 2 for other",
        "for thing in named) < 3 for other",
        "test_minigrid_teacher.py::test_the_captions_of_a_world_by_hand",
    ),
    Mutation(
        "carried-map-of-an-old-episode",
        "a policy keeps its map when an episode ends",
        "jaxteach/api/run.py",
        "maps = select_copies(first, self._empty_maps(len(first)), maps)",
        "maps = select_copies(first & False, self._empty_maps(len(first)), maps)",
        "test_minigrid_student.py::test_a_policy_acts_on_minigrid_s_observations_as_the_student_on_its_map",
    ),
]

MUTATIONS: Final = [
    *LEARNING,
    *GUIDED,
    *ROLLOUT,
    *NETWORKS,
    *TEACHER,
    *GRIDS,
    *MINIGRID,
    *PARTICLES,
    *VECTORS,
    *FILES,
    *PLAYING,
    *MODELS,
]


def copy_of_the_code(folder: Path) -> Path:
    """The repository in a folder of its own, with the recordings beside it."""
    ignored = shutil.ignore_patterns(".*", "__pycache__", "log", "*.egg-info")
    copy = Path(shutil.copytree(ROOT, folder / "repository", ignore=ignored))
    (folder / "shared").symlink_to(ROOT.parent / "shared")
    return copy


def run_tests(copy: Path, node_ids: list[str]) -> int:
    """What pytest returns; `FAILED` too for tests that do not end."""
    environment = os.environ | {"PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"}
    # The slow ones too.
    options = ["-q", "-x", "-n", "0", "-m", "", "-p", "no:cacheprovider"]
    command = [sys.executable, "-m", "pytest", *options, *node_ids]
    try:
        done = subprocess.run(
            command, cwd=copy, env=environment, capture_output=True, text=True, check=False, timeout=PATIENCE_S
        )
    except subprocess.TimeoutExpired:
        return FAILED
    if done.returncode not in (FAILED, PASSED):
        print(done.stdout, done.stderr)
    return done.returncode


def verdict(mutation: Mutation, copy: Path) -> str:
    """Whether the tests notice a mistake: caught, survived, explained, or broken where they can't be run."""
    place = copy / mutation.file
    text = place.read_text("utf-8")
    place.write_text(mutation.applied_to(text), "utf-8")
    try:
        code = run_tests(copy, mutation.node_ids)
    finally:
        place.write_text(text, "utf-8")
    if code == PASSED:
        return "explained" if mutation.why else "survived"
    return "caught" if code == FAILED else "broken"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="+", metavar="NAME", help="mistakes to try instead of all")
    only = parser.parse_args().only
    names = [mutation.name for mutation in MUTATIONS]
    unknown = sorted(set(only or ()) - set(names))
    if unknown:
        parser.error(f"unknown: {', '.join(unknown)}; known are {', '.join(names)}")
    chosen = [mutation for mutation in MUTATIONS if not only or mutation.name in only]
    with tempfile.TemporaryDirectory() as folder:
        os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", f"{folder}/cache")
        copy = copy_of_the_code(Path(folder))
        if run_tests(copy, sorted({test for mutation in chosen for test in mutation.node_ids})) != PASSED:
            print("the tests fail without any mistake")
            return 1
        verdicts = {}
        for mutation in chosen:
            verdicts[mutation] = verdict(mutation, copy)
            print(f"{verdicts[mutation]:>9}  {mutation.name:<32} {mutation.what}", flush=True)
    counts = {kind: list(verdicts.values()).count(kind) for kind in ("caught", "explained", "survived", "broken")}
    print(", ".join(f"{count} {kind}" for kind, count in counts.items()), f"of {len(chosen)}")
    enough = counts["caught"] >= LEAST_SHARE * len(chosen)
    return 0 if (enough or only) and counts["survived"] == counts["broken"] == 0 else 1


if __name__ == "__main__":
    sys.exit(main())
