"""What an import would make of what there is: pure, so that a dry run and the import itself are one piece of code."""

import enum
from collections.abc import Collection, Mapping, Sequence
from typing import TypeAlias

import msgspec

from octoroute_py.core.allowance import WorkspacePolicy
from octoroute_py.core.registry import Kind
from octoroute_py.storage.imports import Rewrite
from octoroute_py.storage.registry import Document
from octoroute_py.storage.workspaces import WorkspaceRow

WORKSPACE = "workspace"
"""What a workspace's configuration is among the kinds of documents."""


class Mode(enum.StrEnum):
    """What becomes of what is there already and does not stand in the import."""

    MERGE = "merge"
    """It stays."""
    REPLACE = "replace"
    """It goes, where the import has the section it would stand in."""


class Wish(msgspec.Struct, frozen=True, kw_only=True):
    """A document as it shall be; `at` says where it stands in the import. Times are Unix ms, None for not given."""

    kind: Kind
    id: str
    value: msgspec.Struct
    created_ms: int | None = None
    updated_ms: int | None = None
    at: str = ""


class WishedWorkspace(msgspec.Struct, frozen=True, kw_only=True):
    """A workspace as it shall be."""

    id: str
    policy: WorkspacePolicy
    created_ms: int | None = None
    updated_ms: int | None = None
    at: str = ""


class Wishes(msgspec.Struct, frozen=True, kw_only=True):
    """All of an import; a kind that is not in `documents`, or `workspaces` None, stands in no section of it."""

    documents: Mapping[Kind, Sequence[Wish]]
    workspaces: Sequence[WishedWorkspace] | None = None


class State(msgspec.Struct, frozen=True, kw_only=True):
    """All that operators have set, as it is kept: documents of each kind in their order, workspaces by id."""

    documents: Mapping[Kind, Sequence[Document]]
    workspaces: Sequence[WorkspaceRow]


Names: TypeAlias = tuple[tuple[str, str], ...]
"""Kinds and ids."""


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be done, and what it comes to. `moved` are kinds whose documents change their order."""

    rewrites: tuple[Rewrite, ...]
    workspaces: tuple[WorkspaceRow, ...]
    forgotten: tuple[str, ...]
    created: Names
    updated: Names
    deleted: Names
    unchanged: int
    moved: tuple[str, ...]

    @property
    def changes(self) -> frozenset[tuple[str, str]]:
        """What is new or says something else than before."""
        return frozenset((*self.created, *self.updated))


class _Notes:
    """What a plan comes to, while it is made."""

    def __init__(self) -> None:
        self.created: list[tuple[str, str]] = []
        self.updated: list[tuple[str, str]] = []
        self.deleted: list[tuple[str, str]] = []
        self.unchanged = 0
        self.moved: list[str] = []


def plan(state: State, wishes: Wishes, *, mode: Mode, now_ms: int) -> Plan:
    """What there is to do for the wishes to be so."""
    notes = _Notes()
    rewrites: list[Rewrite] = []
    for kind in Kind:
        if kind in wishes.documents:
            known = _concerned(kind, state, wishes)
            rewrites += _section(known, wishes.documents[kind], notes, mode=mode, now_ms=now_ms)
    workspaces, forgotten = _workspaces(state, wishes.workspaces, notes, mode=mode, now_ms=now_ms)
    return Plan(
        rewrites=tuple(rewrites),
        workspaces=tuple(workspaces),
        forgotten=tuple(forgotten),
        created=tuple(notes.created),
        updated=tuple(notes.updated),
        deleted=tuple(notes.deleted),
        unchanged=notes.unchanged,
        moved=tuple(notes.moved),
    )


def _concerned(kind: Kind, state: State, wishes: Wishes) -> Sequence[Document]:
    """The documents that a section is about; health of the file's models is in no section."""
    known = state.documents.get(kind, ())
    if kind is not Kind.HEALTH:
        return known
    models = {each.id for each in state.documents.get(Kind.MODEL, ())}
    models.update(each.id for each in wishes.documents.get(Kind.MODEL, ()))
    return [document for document in known if document.id in models]


def _section(
    known: Sequence[Document], wished: Sequence[Wish], notes: _Notes, *, mode: Mode, now_ms: int
) -> list[Rewrite]:
    before = {document.id: document for document in known}
    wanted = {wish.id: _wanted(wish, before.get(wish.id), notes, now_ms=now_ms) for wish in wished}
    if mode is Mode.REPLACE:
        order = list(wanted.values())
    else:
        order = [wanted.get(document.id, document) for document in known]
        order += [document for id_, document in wanted.items() if id_ not in before]
    after = _placed(order, before)
    gone = [Rewrite(document, None) for document in known if mode is Mode.REPLACE and document.id not in wanted]
    notes.deleted += [(rewrite.before.kind.value, rewrite.before.id) for rewrite in gone if rewrite.before]
    found = [Rewrite(before.get(each.id), each) for each in after if before.get(each.id) != each]
    if any(not each.says_more for each in found):
        notes.moved.append(known[0].kind.value)
    return [*gone, *found]


def _wanted(wish: Wish, before: Document | None, notes: _Notes, *, now_ms: int) -> Document:
    """The document that is wished for; the one that is there, if it says the same."""
    body = msgspec.json.encode(wish.value).decode()
    name = (wish.kind.value, wish.id)
    if before is None:
        notes.created.append(name)
    else:
        if _same(before.body, body):
            body = before.body
            times = (wish.created_ms, before.created_ms), (wish.updated_ms, before.updated_ms)
            if all(given in (None, kept) for given, kept in times):
                notes.unchanged += 1
                return before
        notes.updated.append(name)
    updated_ms = now_ms if wish.updated_ms is None else wish.updated_ms
    created_ms = wish.created_ms
    if created_ms is None:
        created_ms = min(now_ms, updated_ms) if before is None else before.created_ms
    position = 0 if before is None else before.position
    return Document(
        kind=wish.kind,
        id=wish.id,
        position=position,
        body=body,
        created_ms=created_ms,
        updated_ms=updated_ms,
        revision=0 if before is None else before.revision,
    )


def _same(one: str, other: str) -> bool:
    """Whether two bodies say the same, however they are written."""
    return one == other or msgspec.json.decode(one) == msgspec.json.decode(other)


def _placed(order: Sequence[Document], before: Collection[str]) -> Sequence[Document]:
    """The documents with places in this order: those that are there keep theirs where they can."""
    last = 0
    placed = []
    for document in order:
        if document.id in before and document.position <= last:
            return [msgspec.structs.replace(each, position=place) for place, each in enumerate(order, 1)]
        last = document.position if document.id in before else last + 1
        placed.append(document if document.id in before else msgspec.structs.replace(document, position=last))
    return placed


def _workspaces(
    state: State, wished: Sequence[WishedWorkspace] | None, notes: _Notes, *, mode: Mode, now_ms: int
) -> tuple[list[WorkspaceRow], list[str]]:
    if wished is None:
        return [], []
    before = {row.id: row for row in state.workspaces}
    rows = []
    for wish in wished:
        known = before.get(wish.id)
        updated_ms = now_ms if wish.updated_ms is None else wish.updated_ms
        if known is None:
            created_ms = min(now_ms, updated_ms) if wish.created_ms is None else wish.created_ms
        else:
            created_ms = known.created_ms if wish.created_ms is None else wish.created_ms
            if wish.policy == known.policy and wish.updated_ms in (None, known.updated_ms):
                updated_ms = known.updated_ms
        row = WorkspaceRow(id=wish.id, policy=wish.policy, created_ms=created_ms, updated_ms=updated_ms)
        if row == known:
            notes.unchanged += 1
            continue
        (notes.created if known is None else notes.updated).append((WORKSPACE, wish.id))
        rows.append(row)
    kept = {wish.id for wish in wished}
    gone = [id_ for id_ in before if mode is Mode.REPLACE and id_ not in kept]
    notes.deleted += [(WORKSPACE, id_) for id_ in gone]
    return rows, gone
