"""Settings that operators want kept: one document of the registry, which lies over the configuration file."""

from octoroute_py.admission.principal import Principal
from octoroute_py.core.registry import Kind
from octoroute_py.core.settings import NO_SETTINGS, Settings, SettingsPatch
from octoroute_py.manage.documents import Desk, Documents
from octoroute_py.storage.registry import SETTINGS_ID


class KeptSettings:
    """The document of a registry."""

    def __init__(self, documents: Documents) -> None:
        self._documents = documents

    async def change(self, patch: SettingsPatch, *, by: Principal) -> None:
        """Keep what comes of a change, which is in force then. Raises Refused 503 when nothing can be kept."""

        def work(desk: Desk) -> None:
            document = desk.get(Kind.SETTINGS, SETTINGS_ID)
            after = patch.applied(NO_SETTINGS if document is None else document.read(Settings))
            if after != NO_SETTINGS:
                desk.put(Kind.SETTINGS, SETTINGS_ID, after, action="settings.set")
            elif document is not None:
                desk.remove(Kind.SETTINGS, SETTINGS_ID, action="settings.forget")

        await self._documents.change(work, by=by)
