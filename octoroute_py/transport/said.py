"""What a model generated, found in any answer or event: text, reasoning, refusals, what tools are called with.

It is looked for to be counted, so nothing here raises and nothing is said about what was not understood.
"""

import msgspec

_MOST_ODD_BYTES = 256 * 1024
"""A larger answer of an odd shape is taken to say as much as it is long."""
_SAYING = (
    "content",
    "text",
    "reasoning_content",
    "reasoning",
    "refusal",
    "thinking",
    "tool_calls",
    "function",
    "function_call",
    "name",
    "arguments",
    "input",
    "summary",
)
_BROKEN = (msgspec.MsgspecError, RecursionError, ValueError)


class _Function(msgspec.Struct, gc=False):
    name: str | None = None
    arguments: str | None = None


class _Call(msgspec.Struct, gc=False):
    function: _Function | None = None


class Said(msgspec.Struct, gc=False):
    """A chat message, or the piece of one that a stream's event brings."""

    content: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    refusal: str | None = None
    tool_calls: list[_Call] | None = None

    def beside(self) -> str:
        """All that is not its content."""
        said = self.reasoning_content or self.reasoning or ""  # some servers say it under both names
        if self.refusal:
            said += self.refusal
        for call in self.tool_calls or ():
            if call.function is not None:
                said += (call.function.name or "") + (call.function.arguments or "")
        return said


class _Choice(msgspec.Struct, gc=False):
    message: Said | None = None
    text: str | None = None


class _Part(msgspec.Struct, gc=False):
    text: str | None = None
    refusal: str | None = None


class _Item(msgspec.Struct, gc=False):
    content: list[_Part] | None = None
    summary: list[_Part] | None = None
    arguments: str | None = None
    input: str | None = None


class _Answer(msgspec.Struct, gc=False):
    choices: list[_Choice] | None = None
    output: list[_Item] | None = None


_decode_answer = msgspec.json.Decoder(_Answer).decode
_decode_odd = msgspec.json.Decoder(dict[str, object]).decode


def texts_of_answer(body: bytes) -> list[str]:
    """What each choice or item of a whole answer says, those left out that say nothing."""
    try:
        answer = _decode_answer(body)
    except msgspec.ValidationError:
        return _odd_texts(body)
    except _BROKEN:
        return []
    texts = [_of_choice(choice) for choice in answer.choices or ()]
    texts += [_of_item(item) for item in answer.output or ()]
    return [text for text in texts if text]


def text_within(value: object) -> str:
    """The text in a decoded value of whatever shape: strings, and those in lists and under names that carry text."""
    found: list[str] = []
    waiting = [value]
    while waiting:
        each = waiting.pop()
        if isinstance(each, str):
            found.append(each)
        elif isinstance(each, list):
            waiting.extend(reversed(each))
        elif isinstance(each, dict):
            waiting.extend([each[name] for name in reversed(_SAYING) if name in each])
    return "".join(found)


def _of_choice(choice: _Choice) -> str:
    message = choice.message
    return choice.text or "" if message is None else (message.content or "") + message.beside()


def _of_item(item: _Item) -> str:
    parts = [*(item.content or ()), *(item.summary or ())]
    said = [part.text or part.refusal or "" for part in parts]
    return "".join([*said, item.arguments or "", item.input or ""])


def _odd_texts(body: bytes) -> list[str]:
    if len(body) > _MOST_ODD_BYTES:
        return [body.decode("utf-8", "replace")]
    try:
        answer = _decode_odd(body)
    except _BROKEN:
        return []
    choices, items = answer.get("choices"), answer.get("output")
    found = [choice.get("message") or choice.get("text") for choice in _objects(choices)]
    texts = [text_within(each) for each in (*found, *_objects(items))]
    return [text for text in texts if text]


def _objects(value: object) -> list[dict[str, object]]:
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []
