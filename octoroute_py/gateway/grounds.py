"""What is kept of a decision for whoever asks later why: references to what made it, and no word of the request.

They are left for every request, so that keeping them costs a microsecond or two; all that can be worked out from them
is worked out when somebody asks (`receipts`).
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

import msgspec

from octoroute_py.core.decision import Decision
from octoroute_py.features.facts import Facts
from octoroute_py.features.tasks import shows_code
from octoroute_py.gateway.plan import Needs, Plan
from octoroute_py.routing.router import Notes
from octoroute_py.routing.rulebook import Rulebook
from octoroute_py.routing.shapes import Place

if TYPE_CHECKING:
    from octoroute_py.gateway.context import Snapshot
    from octoroute_py.gateway.ways import Way

CODE_LOOKED_FOR: Final = 2_048
"""Only so short a message is searched for code, which nothing decides by: a long one would take a hundred times as long
as all else that is kept."""


class Grounds(msgspec.Struct, frozen=True, gc=False):
    """Those of one decision. `facts` are without words (`without_words`), None where nobody looked at the request.

    `way` is None where the client named a tier or a model. `decision` is that of a strategy in its own words, None
    where none was asked, `governed` the plan of operators where they decided, `plan` the one that was carried out: with
    canaries, and with endpoints that do not fit. `wall_s` is Unix time.
    """

    snapshot: "Snapshot"
    way: "Way | None"
    decision: Decision | None
    governed: Plan | None
    plan: Plan
    needs: Needs
    facts: Facts | None
    has_code: bool | None
    notes: Notes | None
    wall_s: float


def without_words(facts: Facts) -> Facts:
    """The facts without what the request says, and without its headers and metadata."""
    bare = msgspec.structs.replace(facts, last_user_text="", conversation=None)
    if not facts.headers and not facts.metadata:  # as for nearly all requests
        return bare
    return msgspec.structs.replace(bare, headers={}, metadata={}, user_tier="")


def kept_facts(bare: Facts, facts: Facts, book: Rulebook) -> Facts:
    """The bare facts with as much of the others as makes no difference to any rule of the book."""
    if not facts.headers and not facts.metadata:
        return bare
    asked = book.asks
    return msgspec.structs.replace(
        bare,
        headers=_cut(facts.headers, asked[Place.HEADERS]),
        metadata=_cut(facts.metadata, asked[Place.METADATA]),
        user_tier=facts.user_tier[: book.longest_user_tier + 1],
    )


def code_in(facts: Facts) -> bool | None:
    """Whether the last user message contains code; None for a long one."""
    text = facts.last_user_text
    return shows_code(text) if len(text) <= CODE_LOOKED_FOR else None


def _cut(members: Mapping[str, str], asked: Mapping[str, int]) -> dict[str, str]:
    """The members that are asked for, each cut where it differs from every value that is."""
    return {name: members[name][: longest + 1] for name, longest in asked.items() if name in members}
