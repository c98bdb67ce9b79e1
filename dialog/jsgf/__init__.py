"""JSpeech Grammar Format (W3C note, June 2000): what may be answered.

Read here, once, for flows and for recognisers.

#JSGF V1.0; grammar yes_no; public <yes_no> = yes [please] | no [thank you];
"""

from dialog.errors import GrammarError
from dialog.jsgf.grammar import Choice, Grammar, Matcher, Node, Recursive, Ref, Repeat, Series, Word
from dialog.jsgf.reader import parse, read

__all__ = [
    "Choice",
    "Grammar",
    "GrammarError",
    "Matcher",
    "Node",
    "Recursive",
    "Ref",
    "Repeat",
    "Series",
    "Word",
    "parse",
    "read",
]
