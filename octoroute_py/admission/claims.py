"""Whom a request counts for: the words that rates and budgets share."""

import enum
from collections.abc import Mapping
from types import MappingProxyType

import msgspec

from octoroute_py.core.allowance import NO_BUDGETS, NO_RATES, Budgets, Rates


class Subject(enum.StrEnum):
    """Whose a limit or a budget is. Source addresses have rates only."""

    KEY = "key"
    WORKSPACE = "workspace"
    AGENT_TYPE = "agent_type"
    IP = "ip"


OWNERS: Mapping[Subject, str] = MappingProxyType(
    {
        Subject.KEY: "this key",
        Subject.WORKSPACE: "this workspace",
        Subject.AGENT_TYPE: "this agent type",
        Subject.IP: "this address",
    }
)
"""How refusals name the owner of a limit to a client."""


class Claim(msgspec.Struct, frozen=True):
    """Somebody a request counts for, and what they may use; a request has at most one claim of each subject."""

    subject: Subject
    id: str
    rates: Rates = NO_RATES
    budgets: Budgets = NO_BUDGETS
