"""What tells about a person or opens a door, replaced by the name of its kind: `[email]`, `[phone]`, `[key]` ...

Text comes from strangers, so every expression here is possessive or bounded, and begins only where a word does: the
time taken grows with the length of the text and nothing else.
"""

import ipaddress
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Final

KEY, EMAIL, ADDRESS, SSN, IBAN, CARD, PHONE = "key", "email", "ip", "ssn", "iban", "card", "phone"

_KEYS: Final = re.compile(
    r"(?<![\w-])eyJ[\w-]{8,}+\.[\w-]{8,}+(?:\.[\w-]*+)?"
    r"|(?<!\w)(?i:bearer)\s{1,8}+[^\s,;\"'\[]{8,}+"
    r"|(?<![A-Za-z0-9])(?:(?:sk|pk|rk|okr)[-_]|gh[pousr]_|github_pat_|glpat-|hf_|xox[abeoprs]-)[\w-]{8,}+"
    r"|(?<![A-Za-z0-9])(?:AKIA|ASIA)[A-Z0-9]{16}(?![A-Za-z0-9])"
    r"|(?<![\w-])AIza[\w-]{35}(?![\w-])"
)
_EMAIL: Final = re.compile(
    r"(?<![A-Za-z0-9À-ɏ._%+'-])[A-Za-z0-9À-ɏ._%+'-]++@[A-Za-z0-9À-ɏ-]++(?:\.[A-Za-z0-9À-ɏ-]++)++"
)
_OCTET: Final = r"(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)"
_IPV4: Final = re.compile(rf"(?<![\w.]){_OCTET}(?:\.{_OCTET}){{3}}(?!\w|\.\d)")
_IPV6: Final = re.compile(r"(?<![\w:.])(?=[0-9A-Fa-f]{0,4}:)[0-9A-Fa-f:]++(?:(?:\.\d{1,3}){3}(?!\d))?(?!\w)")
_LONGEST_IPV6: Final = 45
_SSN: Final = re.compile(r"(?<![\w-])(?!000|666|9)\d{3}-(?!00)\d\d-(?!0000)\d{4}(?![\w-])")
_IBAN_HEAD: Final = re.compile(r"(?<![A-Za-z0-9])([A-Za-z]{2})\d\d(?=[ -]?[A-Za-z0-9])")
_IBAN_CHARS: Final = {
    **dict.fromkeys(("NO",), 15),
    **dict.fromkeys(("BE", "BI"), 16),
    **dict.fromkeys(("DK", "FI", "FO", "GL", "NL", "SD", "FK"), 18),
    **dict.fromkeys(("MK", "SI"), 19),
    **dict.fromkeys(("AT", "BA", "EE", "KZ", "LT", "LU", "XK", "MN"), 20),
    **dict.fromkeys(("CH", "CR", "HR", "LI", "LV"), 21),
    **dict.fromkeys(("BG", "BH", "DE", "GB", "GE", "IE", "ME", "RS", "VA"), 22),
    **dict.fromkeys(("AE", "GI", "IL", "IQ", "TL", "OM", "SO"), 23),
    **dict.fromkeys(("AD", "CZ", "ES", "MD", "PK", "RO", "SA", "SE", "SK", "TN", "VG"), 24),
    **dict.fromkeys(("LY", "PT", "ST"), 25),
    **dict.fromkeys(("IS", "TR"), 26),
    **dict.fromkeys(("FR", "GR", "IT", "MC", "MR", "SM", "DJ"), 27),
    **dict.fromkeys(("AL", "AZ", "BY", "CY", "DO", "GT", "HU", "LB", "NI", "PL", "SV"), 28),
    **dict.fromkeys(("BR", "EG", "PS", "QA", "UA"), 29),
    **dict.fromkeys(("JO", "KW", "MU", "YE"), 30),
    **dict.fromkeys(("MT", "SC"), 31),
    "LC": 32,
    "RU": 33,
}
"""How many letters and digits an IBAN of each country has."""
_RUN: Final = re.compile(r"(?<![\w.,-])[+(]{0,2}\d++(?:[ ().\-/]{1,3}\d++)*+")
_GROUP: Final = re.compile(r"\d++")
_DATE: Final = re.compile(r"\d{1,2}([./-])\d{1,2}\1\d{4}(?!\d)")
_CARD_DIGITS: Final = range(13, 20)
_ISSUERS: Final = frozenset("23456")
_JOINS_CARD: Final = frozenset((" ", "-"))
_JOINS_PHONE: Final = frozenset((" ", "-", "/", ".", "(", ")", ") ", " (", ")-", ".(", ") (", "-(", " - ", " / "))

Span = tuple[int, int, str]
"""Where something begins and ends, and what it is."""


def mask(text: str) -> tuple[str, dict[str, int]]:
    """The text with everything found replaced, and how many of each kind there were."""
    counts: Counter[str] = Counter()

    def named(kind: str) -> str:
        counts[kind] += 1
        return f"[{kind}]"

    def address(found: re.Match[str]) -> str:
        return named(ADDRESS) if _is_ipv6(found[0]) else found[0]

    text = _KEYS.sub(lambda _: named(KEY), text)
    if "@" in text:
        text = _EMAIL.sub(lambda _: named(EMAIL), text)
    if ":" in text:
        text = _IPV6.sub(address, text)
    text = _IPV4.sub(lambda _: named(ADDRESS), text)
    text = _SSN.sub(lambda _: named(SSN), text)
    for found in (_ibans, _numbers):
        text = "".join(_replaced(text, found(text), named))
    return text, dict(counts)


def _replaced(text: str, spans: Iterable[Span], named: Callable[[str], str]) -> Iterator[str]:
    at = 0
    for start, end, kind in spans:
        yield text[at:start]
        yield named(kind)
        at = end
    yield text[at:]


def _is_ipv6(text: str) -> bool:
    if text.count(":") < 2 or len(text) > _LONGEST_IPV6 or not any(char.isdigit() for char in text):
        return False  # `a::b` is more often code
    try:
        ipaddress.IPv6Address(text)
    except ValueError:
        return False
    return True


def _ibans(text: str) -> Iterator[Span]:
    end = 0
    for head in _IBAN_HEAD.finditer(text):
        length = _IBAN_CHARS.get(head[1].upper())
        if length is None or head.start() < end:
            continue
        found = _letters(text, head.start(), length)
        if found is not None and _is_iban(found[0]):
            end = found[1]
            yield head.start(), end, IBAN


def _letters(text: str, start: int, length: int) -> tuple[str, int] | None:
    """So many letters and digits from there on, single spaces and hyphens left out, and where they end."""
    kept, at = "", start
    while len(kept) < length:
        char = text[at : at + 1]
        if char in _JOINS_CARD and text[at - 1] not in _JOINS_CARD:
            at += 1
        elif char.isascii() and char.isalnum():
            kept, at = kept + char, at + 1
        else:
            return None
    after = text[at : at + 1]
    return None if after.isalnum() else (kept.upper(), at)


def _is_iban(text: str) -> bool:
    return int("".join(str(int(char, 36)) for char in text[4:] + text[:4])) % 97 == 1


def _numbers(text: str) -> Iterator[Span]:
    """Cards and phone numbers among the runs of digits."""
    for run in _RUN.finditer(text):
        after = text[run.end() : run.end() + 1]
        groups = [found.span() for found in _GROUP.finditer(text, run.start(), run.end())]
        if after.isalnum() or after == "_":
            groups.pop()
        place = 0
        while place < len(groups):
            card = _card(text, groups, place)
            last = _phone(text, groups, place) if card is None else card
            if last is None:
                place += 1
                continue
            start = groups[place][0]
            while start > run.start() and text[start - 1] in "+(" and last >= place:
                start -= 1
            yield start, groups[last][1], PHONE if card is None else CARD
            place = last + 1


def _card(text: str, groups: list[tuple[int, int]], place: int) -> int | None:
    """The last group of a card's number that begins at this one."""
    start, end = groups[place]
    if text[start] not in _ISSUERS or text[start - 1 : start] == ".":
        return None
    digits = ""
    for last in range(place, len(groups)):
        start, end = groups[last]
        if last > place and text[groups[last - 1][1] : start] not in _JOINS_CARD:
            return None
        if len(digits) + end - start > _CARD_DIGITS[-1]:
            return None
        digits += text[start:end]
        if len(digits) in _CARD_DIGITS and _is_luhn(digits):
            return last
        if end - start < 3:  # cards are printed in groups of three and more, but for the last
            return None
    return None


def _is_luhn(digits: str) -> bool:
    doubled = sum(sum(divmod(2 * int(digit), 10)) for digit in digits[-2::-2])
    return (doubled + sum(map(int, digits[-1::-2]))) % 10 == 0 and len(set(digits)) > 1


def _phone(text: str, groups: list[tuple[int, int]], place: int) -> int | None:
    """The last group of a telephone number that begins at this one."""
    start, end = groups[place]
    before = text[start - 1 : start]
    if before == "+" or text[max(0, start - 2) : start] == "+(":
        return _as_long_as(text, groups, place, least=7, most=15)
    if text[start] != "0":
        return _american(text, groups, place)
    if before == "." or _DATE.match(text, start):
        return None
    if text.startswith("00", start):
        return None if text.startswith("0", start + 2) else _as_long_as(text, groups, place, least=10, most=17)
    return _as_long_as(text, groups, place, least=9, most=12) if end - start > 1 else None


def _as_long_as(text: str, groups: list[tuple[int, int]], place: int, *, least: int, most: int) -> int | None:
    """The last of the groups that together have no more digits than that."""
    digits, found = 0, None
    for last in range(place, len(groups)):
        start, end = groups[last]
        if last > place and text[groups[last - 1][1] : start] not in _JOINS_PHONE:
            break
        digits += end - start
        if digits > most:
            break
        if digits >= least:
            found = last
    return found


def _american(text: str, groups: list[tuple[int, int]], place: int) -> int | None:
    """As North America writes them: an area of three digits, three more, four more; maybe with a 1 before."""
    sizes = [end - start for start, end in groups[place : place + 4]]
    first = place
    if sizes[:1] == [1] and text[groups[place][0]] == "1":
        first, sizes = place + 1, sizes[1:]
    if sizes[:3] != [3, 3, 4]:
        return None
    parts = groups[first : first + 3]
    if any(text[start] in "01" for start, _ in parts[:2]):
        return None
    joins = [
        text[one[1] : other[0]] for one, other in zip(groups[place : first + 2], groups[place + 1 :], strict=False)
    ]
    return first + 2 if all(join in _JOINS_PHONE for join in joins) else None
