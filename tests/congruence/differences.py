"""Where engines do not agree, and why.

Everything that is not listed here they do alike, and as `reference.py` says. What is listed is left out of the random
examples, and each entry has a test of its name in `test_differences.py`, so that one that vanishes is noticed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

CLIENTS: Final = "qdrant-client 1.20.0, qdrant-edge-py 0.9.0"
SERVER: Final = f"Qdrant 1.19.0, {CLIENTS}"


@dataclass(frozen=True)
class Difference:
    """One thing that engines do differently.

    Attributes:
        what: What is different.
        why: The reason, as far as it shows from outside.
        where: Versions of qdrant-client, for local mode, of qdrant-edge-py and of servers in which it was seen.
    """

    what: str
    why: str
    where: str = CLIENTS


DIFFERENCES: Final = {
    "ties_at_the_cut": Difference(
        "of documents that tie with the last hit, each engine returns others, and Edge not always the same ones",
        "the engines cut before this library sorts ties by id, and none of them sorts by id",
    ),
    "datatypes_in_local_mode": Difference(
        "local mode computes with the numbers as they are, the others with what float16 leaves of both sides",
        "local mode ignores datatypes",
    ),
    "several_tests_in_one_condition": Difference(
        "a field condition with several tests holds on Edge if one of them holds; local mode looks at one and forgets "
        "the others",
        "neither has documented more than one test for each condition",
    ),
    "min_count_of_zero": Difference(
        "`min_should` with `min_count=0` always holds on Edge and is an error in local mode",
        "a server refuses the request before the engine sees it; Edge has no such checks",
    ),
    "min_should_without_conditions": Difference(
        "`min_should` without conditions is forgotten by Edge where another clause asks for ids; in local mode, and in "
        "all other filters, it never holds",
        "the engine takes a filter on ids alone as a list of points and checks the rest only if there is some",
    ),
    "nested_should_without_conditions": Difference(
        "an empty `should` inside a nested condition never holds on Edge; in local mode, and outside of nested "
        "conditions on Edge, it is no condition at all",
        "the engine has a second evaluation of filters for nested objects",
    ),
    "large_integers": Difference(
        "a range on integers beyond 2**53 is exact in local mode and off by rounding on Edge; `where` is exact on both",
        "ranges are compared as 64-bit floats by the engine",
    ),
    "floats_of_many_digits": Difference(
        "of a float with more than 15 digits, Edge reads another one now and then, one in the last digit away; `where` "
        "finds it by the float that was written",
        "the engine stores payloads as JSON, and reads some numbers of 16 and 17 digits inexactly",
    ),
    "index_of_another_type": Difference(
        "with a payload index, Edge matches and ranges over the values of the index's type alone: an integer index "
        "reads 1.0 as 1, and `except` finds no strings; local mode has no indexes and looks at every value",
        "the engine answers from the index, which holds no other values",
    ),
    "dates_over_an_index_of_numbers": Difference(
        "with a payload index of numbers, Edge takes the bounds of a `DatetimeRange` as microseconds since 1970 and "
        "compares the numbers with them; without an index, and in local mode, no number is in a range of dates",
        "all indexes of numbers and dates share one implementation",
    ),
    "nested_is_empty_over_an_index": Difference(
        'with a payload index of "items[].number", an element without "number" does not meet a nested `is_empty` on '
        "Edge if another element of the same document has it",
        "the engine asks the index, which knows documents and not their elements",
    ),
    "is_empty_and_is_null_of_several_values": Difference(
        'of a key such as "items[].number", which stands for several values, `is_null=False` and `is_empty=True` in a '
        "field condition hold on Edge if one of the values is as asked; in local mode they are the opposites of "
        "`is_null=True` and `is_empty=False`. `IsNullCondition` and `IsEmptyCondition` are the same everywhere",
        "the engine tests each value of a field condition by itself",
    ),
    "null_in_a_list": Difference(
        "`is_null` holds of a list with a null in it on Edge and in local mode; on servers it does not",
        "servers up to 1.19 compare the value as a whole",
        SERVER,
    ),
    "empty_range_of_dates": Difference(
        "over REST no date is in a `DatetimeRange` without bounds; elsewhere every date is",
        "in JSON it looks as a range of numbers without bounds does",
        SERVER,
    ),
    "words_without_an_index": Difference(
        "without an index of the type text, `MatchText` finds a text as it stands anywhere in a string on servers; "
        "elsewhere, and with an index, it finds words, whatever their case",
        "servers look at the string itself where there is no index of its words",
        SERVER,
    ),
    "two_bounds_on_one_side": Difference(
        "with a payload index, Edge looks at `lt` alone of `lt` and `lte`; without one, and in local mode, both "
        "have to hold",
        "the engine makes one bound for each side when it asks the index",
    ),
}
