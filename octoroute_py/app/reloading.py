"""Every way in which the configuration in force changes while the gateway runs, one after the other."""

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import msgspec
import structlog

from octoroute_py.admission.auth import Access
from octoroute_py.admission.principal import Principal
from octoroute_py.app.cascades import Cascades
from octoroute_py.app.file_watch import FileWatch, watch_files
from octoroute_py.app.governing import Governing
from octoroute_py.app.in_force import InForce, Later, Layers
from octoroute_py.app.settings import known_secrets, needs_restart, refuse_unbuilt
from octoroute_py.config.differences import changed_paths
from octoroute_py.config.overlay import read_patch, usable
from octoroute_py.config.schema import Config
from octoroute_py.core.errors import BadRequest, ConfigError
from octoroute_py.core.registry import Registry
from octoroute_py.core.settings import NO_SETTINGS, Settings, SettingsPatch
from octoroute_py.edge.admin.config import Changed, Shown, shown_settings
from octoroute_py.edge.admin.reload import ArtifactTold, ConfigTold, Reloaded, What
from octoroute_py.manage.audit import actor_of
from octoroute_py.manage.settings import KeptSettings
from octoroute_py.routing.strategies import SCORED
from octoroute_py.telemetry.labels import ReloadOutcome
from octoroute_py.telemetry.logs import set_levels
from octoroute_py.telemetry.scrub import Scrubber

if TYPE_CHECKING:
    from octoroute_py.routing.neural import NeuralRouter

_log = structlog.stdlib.get_logger("octoroute.app")

LoadConfig = Callable[[], Config]
"""Reads the configuration again, as at the start; raises ConfigError. Called in a thread."""

MOST_TOLD = 20
"""So many changed places stand in the log; the answer has all of them."""


class Means(NamedTuple):
    """What changing the configuration needs of the application; `started` is the file as it was at the start.

    `renew` reads the files of certificates again; raises ConfigError.
    """

    load: LoadConfig
    access: Callable[[Config], Access]
    renew: Callable[[Config], None]
    scrubber: Scrubber
    later: Later
    started: Config


class Reloading:
    """Reloads, settings over the API, and what others have registered; all of it whole or not at all."""

    def __init__(self, force: InForce, cascades: Cascades, governing: Governing, means: Means) -> None:
        self._force = force
        self._cascades = cascades
        self._governing = governing
        self._means = means
        self._kept = KeptSettings(governing.documents)
        self._one_at_a_time = asyncio.Lock()
        self._spare: NeuralRouter | None = None
        self._files = FileWatch(self._watched) if means.started.server.watch_config else None

    async def reload(self, what: What = What.BOTH) -> Reloaded:
        """Put the file, the artifact or both in force as they are now. Raises ConfigError, logged, and changes nothing.

        A file that is read again takes away the settings that were not to be kept.
        """
        counted = self._force.gateway.metrics.reloaded
        try:
            told = await self._reload(what)
        except ConfigError as error:
            counted(ReloadOutcome.REFUSED)
            _log.error("configuration not reloaded, the old one stays in force", problems=str(error).splitlines())
            raise
        counted(ReloadOutcome.APPLIED)
        return told

    async def _reload(self, what: What) -> Reloaded:
        async with self._one_at_a_time:
            before = self._force.layers
            if what is What.ARTIFACT:
                if self._force.config.routing.strategy not in SCORED:
                    raise ConfigError(f"the strategy '{self._force.config.routing.strategy}' uses no artifact")
                file, runtime = before.file, before.runtime
            else:
                file, runtime = await asyncio.to_thread(self._read_file), NO_SETTINGS
            artifact_before = self._artifact_sha()
            generation = await self._arrange(file, runtime, anew=what is not What.CONFIG)
        told = self._reloaded(what, before, generation, artifact_before)
        _log.info(
            "configuration reloaded",
            generation=generation,
            what=what.value,
            changed=told.config.changed[:MOST_TOLD],
            **{name: value for name in ("needs_restart", "overridden") if (value := getattr(told, name))},
        )
        return told

    async def reload_and_tell(self) -> None:
        """The same for whoever gets no answer: the log says why the file cannot be used."""
        with contextlib.suppress(ConfigError):
            await self.reload()

    async def change(self, values: Mapping[str, object], *, persist: bool, by: Principal) -> Changed:
        """Change settings; None takes one away. Raises ConfigError, BadRequest 409, Refused, and changes nothing."""
        async with self._one_at_a_time:
            force = self._force
            patch = read_patch(force.layers.file, values)
            if persist and not self._governing.store.keeps:
                raise BadRequest(
                    "Nothing can be kept here: set url in [storage], or leave out 'persist'.",
                    status=409,
                    code="storage_off",
                )
            before = self.shown()
            wanted = patched(force.layers, patch, persist=persist)
            scorer = await self._cascades.scorer_for(wanted.whole())
            if persist:
                await self._keep(patch, scorer, by)
            layers = msgspec.structs.replace(wanted, kept=force.layers.kept)
            if layers.whole() != force.config:
                force.put(layers, self._governing.registry, scorer)
            force.layers = layers
            after = self.shown()
        updated = before.differing(after)
        _log.info("settings changed", fields=updated, kept=persist, actor=actor_of(by), generation=after.generation)
        hidden = [] if persist else [name for name in sorted(patch.dropped) if name in layers.kept.plain()]
        return Changed.of(updated, hidden=hidden, generation=after.generation)

    def shown(self) -> Shown:
        """The settings in force, and where each comes from."""
        layers, scorer = self._force.layers, self._cascades.scorer
        kept, _ = usable(layers.file, layers.kept)
        artifact = None if scorer is None or not scorer.ready else scorer.artifact
        return shown_settings(
            self._force.config,
            kept=kept,
            runtime=layers.runtime,
            generation=self._force.gateway.snapshot.generation,
            scorer_loaded=scorer is not None and scorer.ready,
            quantized=artifact is not None and artifact.quantized,
        )

    def registry_changed(self, registry: Registry) -> None:
        """Put in force what is registered now, by whomever. Raises ConfigError and changes nothing."""
        force = self._force
        layers = msgspec.structs.replace(force.layers, kept=registry.settings)
        scorer = self._cascades.scorer
        if self._cascades.lacks(layers.whole()):
            scorer = self._spare
            if scorer is None:  # its artifact has to be read first, which nobody here can wait for
                layers, scorer = force.layers, self._cascades.scorer
                self._means.later(self._catch_up())
        generation = force.put(layers, registry, scorer)
        _log.info("models and rules changed", generation=generation, version=registry.version)

    async def _catch_up(self) -> None:
        """Another process kept settings that need a scorer."""
        try:
            async with self._one_at_a_time:
                await self._arrange(self._force.layers.file, self._force.layers.runtime, anew=False)
        except ConfigError as error:
            _log.error("settings that were kept cannot be put in force", problems=str(error).splitlines())

    async def _keep(self, patch: SettingsPatch, scorer: "NeuralRouter | None", by: Principal) -> None:
        self._spare = scorer
        try:
            await self._kept.change(patch, by=by)
        finally:
            self._spare = None

    async def _arrange(self, file: Config, runtime: Settings, *, anew: bool) -> int:
        """Make the scorer ready that these need, then put them in force over what is kept by then."""
        while True:
            whole = self._layers(file, runtime).whole()
            scorer = await self._cascades.scorer_for(whole, anew=anew)
            layers = self._layers(file, runtime)
            if layers.whole() == whole:
                break
        access = self._means.access(file)
        if anew and file is not self._force.layers.file:
            self._means.renew(file)
        self._means.scrubber.learn(known_secrets(file))
        set_levels(self._means.started.observability.log_level, file.observability.log_levels)
        return self._force.put(layers, self._governing.registry, scorer, access=access, anew=True)

    def _layers(self, file: Config, runtime: Settings) -> Layers:
        return Layers(file=file, kept=self._governing.registry.settings, runtime=runtime)

    async def run(self) -> None:
        """Reload when the files change, if that was asked for at the start, until cancelled."""
        if self._files is not None:
            await watch_files(self._files, self.reload_and_tell)

    def _watched(self) -> tuple[Path, ...]:
        """The file, the `.env` beside it, and the artifact if it is no shipped one."""
        file, artifact = self._force.layers.file, self._force.config.routing.neural.artifact
        own = () if file.path is None else (file.path, file.path.parent / ".env")
        return (*own, artifact) if isinstance(artifact, Path) else own

    def _read_file(self) -> Config:
        if self._files is not None:
            self._files.read()
        config = self._means.load()
        refuse_unbuilt(config)
        return config

    def _artifact_sha(self) -> str | None:
        scorer = self._cascades.scorer
        return None if scorer is None or scorer.artifact is None else scorer.artifact.sha256

    def _reloaded(self, what: What, before: Layers, generation: int, artifact_before: str | None) -> Reloaded:
        now, scorer = self._force.layers, self._cascades.scorer
        facts = None if scorer is None or what is What.CONFIG else scorer.artifact
        hiding = {*now.kept.names()}
        changed = changed_paths(before.file, now.file)
        values = shown_settings(before.file).differing_in(shown_settings(now.file))
        return Reloaded(
            success=True,
            message="The configuration is in force." if what is not What.ARTIFACT else "The artifact is in force.",
            generation=generation,
            config=ConfigTold(changed=list(changed)),
            artifact=None
            if facts is None
            else ArtifactTold(
                name=facts.name, sha256=facts.sha256, kind=facts.kind, changed=facts.sha256 != artifact_before
            ),
            needs_restart=needs_restart(self._means.started, now.file),
            overridden=[name for name in values if name in hiding],
            dropped=[] if what is What.ARTIFACT else list(before.runtime.names()),
        )


def patched(layers: Layers, patch: SettingsPatch, *, persist: bool) -> Layers:
    """The layers after a change: what is kept is no longer hidden by what was set before it."""
    if persist:
        runtime = patch.taken_from(layers.runtime)
        return msgspec.structs.replace(layers, kept=patch.applied(layers.kept), runtime=runtime)
    return msgspec.structs.replace(layers, runtime=patch.applied(layers.runtime))
