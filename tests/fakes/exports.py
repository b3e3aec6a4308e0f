"""An export that has something of everything, as a client would write it."""

from typing import Any

TIMES = {"createdAt": "2026-01-02T03:04:05.678Z", "updatedAt": "2026-02-03T04:05:06.789Z"}


def endpoint(id_: str, **fields: Any) -> dict[str, Any]:
    return {"id": id_, "url": f"https://{id_.replace(':', '-')}.example.com/v1", **fields}


def model(id_: str, *endpoints: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"id": id_, "name": id_, "provider": "custom", "endpoints": list(endpoints), **fields}


def rule(id_: str, *targets: str, **fields: Any) -> dict[str, Any]:
    return {"id": id_, "name": id_, "targets": [{"modelId": each} for each in targets or ("fast",)], **fields}


def everything() -> dict[str, Any]:
    """One of each, in an order that is not that of their ids."""
    return {
        "version": 1,
        "exportedAt": "2026-03-04T05:06:07.000Z",
        "models": [
            model(
                "new",
                endpoint("new:2", type="backup", weight=2.5, **TIMES),
                endpoint("new:1", **TIMES),
                parameters={"temperature": 0.20, "maxTokens": 1000, "top": 1e3, "stop": ["\u00e9", None]},
                tier="deep",
                status="canary",
                credential="shop",
                tags=["b", "a"],
                health={"status": "healthy", "responseTime": 500, **TIMES},
                **TIMES,
            ),
            model("old", endpoint("old:1", allowNetworks=["10.0.0.0/8"]), **TIMES),
            model("bare", **TIMES),
        ],
        "routingRules": [
            rule(
                "z",
                "new",
                "fast",
                priority=-3,
                conditions={"timeOfDay": {"start": "22:00", "end": "06:00", "timezone": "Europe/Berlin"}},
                trafficSplit={"primary": 90, "canary": 10},
                **TIMES,
            ),
            rule("a", "fast-model", enabled=False, **TIMES),
        ],
        "agentPreferences": {
            "writer": {"preferredModels": ["old", "deep"], "requiredCapabilities": ["json"], **TIMES},
            "a coder/1": {"agentType": "a coder/1", "performanceRequirements": {"maxLatency": 800}, **TIMES},
        },
        "workspaceConfigs": {
            "red": {"modelRestrictions": ["new", "fast"], "budgetLimits": {"dailyLimit": 0.1}, **TIMES},
            "blue": {"qualityRequirements": {"maxLatency": 100}, "complianceRequirements": ["gdpr"], **TIMES},
        },
        "canaryDeployments": [
            {
                "id": "c",
                "name": "c",
                "productionModelId": "old",
                "canaryModelId": "new",
                "status": "active",
                "trafficSplit": {"production": 80, "canary": 20},
                "successCriteria": {"maxLatencyP95": 900},
                "step": 2,
                "startedMs": 1_700_000_000_000,
                **TIMES,
            }
        ],
        "experiments": [
            {
                "id": "e",
                "name": "e",
                "arms": [{"name": "usual"}, {"name": "other", "modelId": "new", "weight": 3}],
                "status": "running",
                "startedMs": 1_700_000_000_000,
                **TIMES,
            }
        ],
    }
