"""Definitions: layout, comments and docstrings do not change their hash, nor does the version of Python."""

import ast

import pytest

from sweeper.runs.syntax import hash_of, parse_extension

SOURCE = "class A:\n    x = 1\n\n    def f(self, a=(1, 2)):\n        return 'a' + a\n"


@pytest.mark.parametrize(
    "old, new, equal",
    [
        ("x = 1", "x = 1  # why", True),
        ("x = 1\n\n", "x = (\n        1\n    )\n", True),
        ("class A:", "class A:\n    '''A.'''\n", True),
        ("a=(1, 2)):", "a=(1, 2)):\n        '''Returns.'''", True),
        ("'a'", '"a"', True),
        ("x = 1", "x = 2", False),
        ("x = 1", "x: int = 1", False),
        ("a=(1, 2)", "a=(1, 3)", False),
        ("'a'", "'b'", False),
        ("'a' + a", "a + 'a'", False),
        ("return", "print('x')\n        return", False),
    ],
)
def test_layout_comments_and_docstrings_do_not_change_the_fingerprint(old: str, new: str, equal: bool) -> None:

    assert SOURCE.count(old) == 1
    before, after = (hash_of(ast.parse(text).body[0]) for text in (SOURCE, SOURCE.replace(old, new)))
    assert (before == after) == equal


def test_a_hash_is_the_same_on_every_version_of_python() -> None:
    source = "@a\ndef f(x: int = 1, *, y=None) -> None:\n    return f'{x:>{y}}' + [z for z in x if z][0]\n"
    assert hash_of(ast.parse(source).body[0]) == "7869da53d0dd3caf"


@pytest.mark.parametrize("text", ["3x3", "in pixels", "yield", "\\0", "\\ud800", " x", ""])
def test_a_quoted_part_of_an_annotation_that_is_no_expression_is_ignored(text: str) -> None:
    source = f"def f(x: Annotated['Size', '{text}']) -> Literal['{text}', 'Kind']:\n    return SCALE\n"
    found = parse_extension(source, (), ()).definitions["f"].names
    assert {("Size", None), ("Kind", None), ("SCALE", None)} <= {*found}
