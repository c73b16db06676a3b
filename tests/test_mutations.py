"""The list of mistakes that tests must notice fits the code: what it would change and run is there."""

import ast

import pytest

from tests.mutations import MUTATIONS, ROOT


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_a_mistake_can_be_made_and_its_tests_are_there(mutation):
    changed = mutation.applied_to((ROOT / mutation.file).read_text("utf-8"))
    assert mutation.new != mutation.old
    compile(changed, mutation.file, "exec")
    for node_id in mutation.node_ids:
        file, *name = node_id.split("::")
        tree = ast.parse((ROOT / file).read_text("utf-8"))
        functions = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
        assert not name or name[0].split("[")[0] in functions, f"{node_id} is not there"


def test_mistakes_have_names_of_their_own():
    assert len({mutation.name for mutation in MUTATIONS}) == len(MUTATIONS) >= 60
