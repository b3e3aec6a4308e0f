"""What is known of a request when its tier is chosen (contract §4)."""

import msgspec

from octoroute_py.core.words import Capability, Importance, TaskType


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """Typed observations of one request.

    `tokens` is the estimate code points / 4, floored, over all message text. `model` is the name the client asked
    for. `headers` are the request's headers (lower-case names, last value wins) as far as rules may look at them:
    credentials are never in it. `last_user_text` is the last user message's text, for rules; never logged.
    """

    tokens: int
    importance: Importance
    task_type: TaskType
    turns: int = 1
    has_tools: bool = False
    has_images: bool = False
    has_code: bool = False
    needs: frozenset[Capability] = frozenset()
    model: str = "auto"
    headers: dict[str, str] = {}
    last_user_text: str = ""
