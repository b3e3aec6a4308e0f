"""Which names may become labels of metrics: those of the snapshot in force, and the workspaces that are configured."""

from collections.abc import Iterable

from octoroute_py.gateway.context import Snapshot
from octoroute_py.telemetry.served import Known, agent_types_of, served_by


def known_in(snapshot: Snapshot, workspaces: Iterable[str]) -> Known:
    """The names, each kind in the order in which it gets its labels."""
    config, registry = snapshot.config, snapshot.registry
    return Known(
        endpoints=served_by(config, registry),
        rules=snapshot.rule_ids,
        workspaces=tuple(workspaces),
        agent_types=agent_types_of(config, registry),
        canaries=tuple(each.id for each in registry.canaries.values() if each.status.is_live),
    )
