"""From the models that were found to a configuration: which tier each serves, and the TOML text."""

import json
import re
from collections.abc import Iterable, Sequence

import msgspec

from octoroute_py.config.endpoints import RESERVED_NAMES
from octoroute_py.core.words import TIERS, Tier

_FAST_UP_TO = 9.0
_BALANCED_UP_TO = 34.0

_EXPERTS = re.compile(r"(?<![a-z0-9.])(\d{1,3})x(\d{1,4}(?:\.\d{1,2})?)b(?![a-z])", re.IGNORECASE)
_SIZE = re.compile(r"(?<![a-z0-9.])e?(\d{1,4}(?:\.\d{1,2})?)([bm])(?![a-z])", re.IGNORECASE)
_NO_CHAT = re.compile(r"embed|rerank|whisper|(^|[/_-])(bge|e5|gte|minilm|all-minilm|tts|clip)([._:-]|$)", re.IGNORECASE)


class Server(msgspec.Struct, frozen=True):
    """A model server that answered on loopback."""

    label: str
    port: int
    models: tuple[str, ...]


class Draft(msgspec.Struct, frozen=True):
    """One endpoint to be written; `size` is the model's billions of parameters where its name says so."""

    tier: Tier
    name: str
    model: str
    server: Server
    size: float | None


def size_of(model: str) -> float | None:
    """Billions of parameters by the model's name; of several numbers the largest (`30b-a3b` is 30)."""
    experts = [int(count) * float(each) for count, each in _EXPERTS.findall(model)]
    plain = [float(number) / (1000 if unit in "mM" else 1) for number, unit in _SIZE.findall(model)]
    return max(experts + plain, default=None)


def tier_of(model: str) -> Tier:
    """Fast up to 9 billion parameters, balanced up to 34 or when the name does not say, deep above."""
    size = size_of(model)
    if size is None:
        return Tier.BALANCED
    if size <= _FAST_UP_TO:
        return Tier.FAST
    return Tier.BALANCED if size <= _BALANCED_UP_TO else Tier.DEEP


def is_chat_model(model: str) -> bool:
    """False for models whose name says that they embed, rank or transcribe."""
    return _NO_CHAT.search(model) is None


def drafts(servers: Iterable[Server]) -> list[Draft]:
    """An endpoint for every chat model, and every tier filled; empty when there is no chat model at all."""
    found = [
        Draft(tier_of(model), _name(model), model, server, size_of(model))
        for server in servers
        for model in server.models
        if is_chat_model(model)
    ]
    if not found:
        return []
    found = _one_tier_a_name(found)
    filled = [each for tier in TIERS for each in _of_tier(found, tier) or [_stand_in(found, tier)]]
    return sorted(filled, key=lambda draft: TIERS.index(draft.tier))


def config_text(chosen: Sequence[Draft]) -> str:
    """The configuration as TOML, valid as it is."""
    lines = ["# Written by `octoroute discover`; `octoroute config` shows every other setting.", ""]
    lines += ["[server]", 'host = "127.0.0.1"', "port = 3000", ""]
    for draft in chosen:
        lines += [
            f"[[models.{draft.tier}]]  # {draft.server.label}",
            f"name = {toml_string(draft.name)}",
            f"base_url = {toml_string(f'http://127.0.0.1:{draft.server.port}/v1')}",
        ]
        if draft.model != draft.name:
            lines.append(f"model = {toml_string(draft.model)}")
        lines.append("")
    lines += ["[routing]", 'strategy = "rule"', 'default_tier = "balanced"', ""]
    return "\n".join(lines)


def toml_string(value: str) -> str:
    """The value as a TOML basic string; JSON's escapes are TOML's too, except that TOML also escapes DEL."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _name(model: str) -> str:
    """What clients will call it: the last part of a path, without the file type of weights."""
    name = model.replace("\\", "/").rstrip("/").rpartition("/")[2].removesuffix(".gguf").strip() or model
    return f"{name}-model" if name.lower() in RESERVED_NAMES else name


def _of_tier(found: list[Draft], tier: Tier) -> list[Draft]:
    return [draft for draft in found if draft.tier is tier]


def _one_tier_a_name(found: list[Draft]) -> list[Draft]:
    """Models of different paths may come to the same name; the first keeps its tier and the others join it."""
    tiers: dict[str, Tier] = {}
    for draft in found:
        tiers.setdefault(draft.name, draft.tier)
    return [msgspec.structs.replace(draft, tier=tiers[draft.name]) for draft in found]


def _stand_in(found: list[Draft], tier: Tier) -> Draft:
    """The model nearest to an empty tier, under a name of its own: the smallest for fast, the largest for deep."""
    by_size = sorted(found, key=lambda draft: (TIERS.index(draft.tier), draft.size or 0.0))
    if tier is Tier.FAST:
        source = by_size[0]
    elif tier is Tier.DEEP:
        source = by_size[-1]
    else:
        source = next((draft for draft in by_size if draft.tier is Tier.DEEP), by_size[-1])
    taken = {draft.name for draft in found}
    name = f"{source.name}-{tier}"
    while name in taken:
        name += "-2"
    return msgspec.structs.replace(source, tier=tier, name=name)
