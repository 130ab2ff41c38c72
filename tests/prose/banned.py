"""Constructions that a native engineer stumbles over, each with a plain alternative."""

from __future__ import annotations

import re
from typing import Final

_VERBS_BEFORE_A_NOUN: Final = (
    "of|to|for|from|with|by|in|on|at|as|than|like|and|or|but|only|is|are|was|into|over|under|after|before|without|"
    "keeps?|holds?|takes?|needs?|makes?|writes?|reads?|deletes?|stores?|finds?|sends?|returns?|gives?|gets?|leaves?|"
    "copies|copy|removes?|adds?|mends?|changes?|does|do|has|have|encodes?|counts?"
)

BANNED: Final[dict[str, str]] = {
    # headless relative clauses used as nouns
    rf"\b(?:{_VERBS_BEFORE_A_NOUN}) what\b(?! if\b)": "name the thing: `the value that …`",
    r"^What\b(?!.*\?$)": "name the thing: `The value that …`",
    r"\bwhoever\b": "name who: `a caller that …`",
    r"\bwhomever\b": "name who",
    r"\bwhosever\b|\bwhose ever\b": "name who",
    r"\bthat which\b|\bthose which\b": "name the thing",
    r"\bthose who\b": "name who",
    r"\ball that is\b": "`everything that …` or the name of the thing",
    r"\bthe one that is\b": "name the thing",
    # pronouns and quantities without an antecedent
    r"\bnone of them\b|\bsome of them\b|\bmany of them\b|\bmost of them\b|\beach of them\b": "name the things",
    r"\bof them\b": "name the things",
    r"\bso many\b|\bso much\b|\bthat many\b": "give the number, or name the limit",
    r"\blikewise\b": "say it: `also`, `in the same way`, or repeat the verb",
    r"\ball else\b|\bwhat else\b|\banything else\b.*\bis none\b": "`everything else`, or name it",
    r"\bone's own\b|\bof one's\b": "`your own`",
    r"\bof (?:yours|ours|theirs|its own|his|hers)\b": "`your …`, `our …`, `its own …`",
    r"\bthe like\b|\band its like\b|\bsuch like\b|\bsuchlike\b": "name more examples, or stop",
    r"\bsomebody\b|\bnobody\b|\beverybody\b": "name who: `another client`, `no caller`",
    r"\bno one\b|\bsomeone else\b": "name who",
    # elliptical sentences
    r"^(?:It|They|He|There) (?:is|are|has|have|does|do|was|were)(?: not| none| so)?\.$": "state the condition",
    r"\b(?:is|are|was|were) none\b": "`is not a …`, `does not exist`",
    r"\b(?:has|have|had) none\b": "`has no …`",
    r"\b(?:has|have|had|does|do|did|is|are|was|were|can|may|must) not[.;]": "finish the clause",
    r"\b(?:says|said|say) so\b": "say what it states",
    r"\b(?:does|do|is|are) so\b": "repeat the verb",
    r"\bthat is all\b": "delete it",
    r"\bas (?:it|they) (?:is|are|was|were)\b(?!\s+\w+(?:ed|en|ing)\b)": "`unchanged`",
    # calques
    r"\bat hand\b": "`available`",
    r"\bby (?:itself|themselves)\b": "`automatically`, `on its own`",
    r"\b(?:go|goes|going|went|gone) on\b": "`continue`, `resume`",
    r"\bmeanwhile\b": "`in the meantime`, or say when",
    r"\bfor ever\b": "`forever`, `indefinitely`",
    r"\bnow and then\b": "`occasionally`",
    r"\bonce more\b|\bonce again\b": "`again`",
    r"\bmade ready\b|\bmakes? ready\b": "`prepared`, `serialised`",
    r"\bin vain\b": "`without success`",
    r"\bbeforehand\b": "`first`, `before …`",
    r"\bhereby\b|\bthereby\b|\bwhereby\b|\bwherein\b|\btherein\b|\bthereof\b|\bthereupon\b|\bwhereupon\b": "rewrite",
    r"\bhenceforth\b|\bhitherto\b|\bheretofore\b": "`from now on`, `so far`",
    r"\bup to now\b|\bas of yet\b": "`so far`",
    r"\bin the place of\b": "`instead of`",
    r"\btold? apart\b|\btells? apart\b": "`distinguish`",
    r"\bcomes? to nothing\b|\bcame to nothing\b": "`fails`",
    r"\bnothing but\b": "`only`",
    r"\bis about to\b|\bare about to\b": "`will`",
    r"\bbe it\b|\bbe they\b": "`whether it is …`",
    r"\bas well as ever\b": "rewrite",
    r"\bdoes? as well[.;]|\bserves? as well\b|\bwill do[.;]": "`also works`",
    r"\blets? itself\b|\bletting itself\b": "`can be`",
    r"\bstands? for itself\b|\bspeaks? for itself\b": "delete it",
    r"\bhas (?:its|their) place\b": "say where it belongs",
    r"\bfound out\b|\bfinds? out\b": "`detected`, `determined`",
    r"\bas far as there is\b|\bso far as\b|\bin so far\b|\binsofar\b": "`if`, `while`",
    r"\bwithout a word\b": "`silently`",
    r"\bno more and no less\b|\bno more than that\b": "rewrite",
    r"\bturns? out to be\b": "`is`",
    r"\bin turns\b": "`alternately`",
    r"\bto and fro\b|\bback and forth\b": "rewrite",
    r"\bof late\b|\bas yet\b": "`recently`, `yet`",
    r"\bmake(?:s)? do\b": "`works`",
    r"\bshall\b": "`must`, `will`",
    r"\bought to\b": "`should`, `must`",
    r"\bneedn't\b|\bneed not\b": "`does not have to`",
    r"\bupon\b": "`on`, `after`",
    r"\bamongst\b|\bwhilst\b|\bamidst\b": "`among`, `while`, `amid`",
    r"\bper se\b|\bviz\b|\bresp\.": "rewrite",
}
PATTERNS: Final = {re.compile(pattern, re.IGNORECASE): remedy for pattern, remedy in BANNED.items()}
LONGEST: Final = 25
CONDITION: Final = re.compile(r"(?:If|When|Unless|As)\b")
"""How an entry of a `Raises:` section begins."""
