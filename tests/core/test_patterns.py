import pytest

from raydl.core.errors import SpecError
from raydl.core.fields.patterns import as_patterns, matching

NAMES = ["body.0.weight", "body.0.bias", "body.1.weight", "head.weight", "head.bias"]


@pytest.mark.parametrize(
    ("patterns", "expected"),
    [
        (None, []),
        ("", []),
        ("head.bias", ["head.bias"]),
        ("body.*", NAMES[:3]),
        ("*.bias,head.*", ["body.0.bias", "head.bias", "head.weight"]),
        ("body.[1-9].*", ["body.1.weight"]),
        ("*", NAMES),
    ],
)
def test_which_names_match(patterns, expected):
    assert matching("model.frozen", patterns, NAMES) == set(expected)


@pytest.mark.parametrize(
    ("pattern", "near"),
    [("haed.*", "head.bias"), ("head", "head.bias"), ("Head.weight", "head.weight"), ("?", "body")],
)
def test_a_pattern_of_nothing_is_told_with_the_nearest_names(pattern, near):
    with pytest.raises(SpecError, match=rf"model\.frozen has '.*', which .* nearest are .*{near}"):
        matching("model.frozen", f"body.*,{pattern}", NAMES)


@pytest.mark.parametrize(
    ("given", "expected"),
    [(None, None), ("a.*, b", "a.*,b"), (["a.*", "b"], "a.*,b"), (("a",), "a")],
)
def test_what_may_be_given(given, expected):
    assert as_patterns("model.fresh", given) == expected


@pytest.mark.parametrize("given", [3, ["a", 3], {"a": 1}])
def test_what_is_no_pattern(given):
    with pytest.raises(SpecError, match=r"model\.fresh is .*; it must be shell patterns"):
        as_patterns("model.fresh", given)
