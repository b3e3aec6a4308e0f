"""Writes deploy/grafana/dashboards/*.json from deploy/grafana/panels.toml: python scripts/grafana.py"""

import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parents[1] / "deploy" / "grafana"
PANELS = FOLDER / "panels.toml"
DASHBOARDS = FOLDER / "dashboards"

SOURCE = {"type": "prometheus", "uid": "${source}"}
_TYPES = {
    "line": "timeseries",
    "area": "timeseries",
    "bars": "timeseries",
    "stat": "stat",
    "pie": "piechart",
    "heat": "heatmap",
    "states": "state-timeline",
}
_AT_ONCE = ("stat", "pie")
"""Kinds that show one number a series, and ask for no more."""
_WIDTH, _PAGE = 8, 24
_HEIGHTS = {"stat": 4}
_SELECTOR = re.compile(r"\b(up|(?:octoroute|tiny_dancer|model_router|gen_ai)_[a-z0-9_]+)\b(?:\{([^}]*)\})?(?!\s*=)")
_NO_NAMES = re.compile(r"\b(?:by|without|on|ignoring)\s*\([^)]*\)|\{[^}]*\}")


def of_instances(query: str) -> str:
    """The query, put to the chosen instances alone."""
    labels = [found.span() for found in _NO_NAMES.finditer(query)]

    def chosen(found: re.Match[str]) -> str:
        if any(start < found.start() < end for start, end in labels):
            return found[0]  # a label that begins like one of our metrics
        own = f", {found[2]}" if found[2] else ""
        return f'{found[1]}{{instance=~"$instance"{own}}}'

    return _SELECTOR.sub(chosen, query)


def _targets(panel: dict[str, Any], kind: str) -> list[dict[str, Any]]:
    queries = panel["queries"]
    legends = panel.get("legends") or [panel.get("legend", "")] * len(queries)
    at_once = kind in _AT_ONCE
    return [
        {
            "datasource": SOURCE,
            "editorMode": "code",
            "expr": of_instances(query),
            "format": "heatmap" if kind == "heat" else "time_series",
            "instant": at_once,
            "legendFormat": legend or "__auto",
            "range": not at_once,
            "refId": "ABCDEF"[place],
        }
        for place, (query, legend) in enumerate(zip(queries, legends, strict=True))
    ]


def _thresholds(panel: dict[str, Any], kind: str) -> dict[str, Any]:
    if kind == "states":
        return {"mode": "absolute", "steps": [{"color": "gray", "value": None}, {"color": "blue", "value": 1}]}
    steps = [{"color": "green" if "bad" in panel else "text", "value": None}]
    steps += [
        {"color": color, "value": panel[name]} for name, color in (("warn", "yellow"), ("bad", "red")) if name in panel
    ]
    return {"mode": "absolute", "steps": steps}


def _fields(panel: dict[str, Any], kind: str) -> dict[str, Any]:
    defaults: dict[str, Any] = {"unit": panel.get("unit", "short"), "thresholds": _thresholds(panel, kind)}
    if kind in ("line", "area", "bars"):
        defaults["min"] = 0
        defaults["color"] = {"mode": "palette-classic"}
        defaults["custom"] = {
            "drawStyle": "bars" if kind == "bars" else "line",
            "fillOpacity": {"line": 5, "area": 30, "bars": 70}[kind],
            "lineWidth": 1,
            "showPoints": "never",
            "stacking": {"mode": "normal" if kind in ("area", "bars") else "none", "group": "A"},
            "thresholdsStyle": {"mode": "line" if "bad" in panel else "off"},
        }
    elif kind == "pie":
        defaults["color"] = {"mode": "palette-classic"}
    else:
        defaults["color"] = {"mode": "thresholds"}
    if "max" in panel:
        defaults["max"] = panel["max"]
    if kind == "states":
        defaults["mappings"] = [_values({"0": "no", "1": "yes"})]
    if "values" in panel:
        defaults["mappings"] = [_values(panel["values"])]
    return {"defaults": defaults, "overrides": []}


def _values(texts: dict[str, str]) -> dict[str, Any]:
    options = {value: {"index": place, "text": text} for place, (value, text) in enumerate(texts.items())}
    return {"type": "value", "options": options}


def _options(panel: dict[str, Any], kind: str) -> dict[str, Any]:
    last = {"calcs": ["lastNotNull"], "fields": "", "values": False}
    below = {"displayMode": "list", "placement": "bottom", "showLegend": True}
    match kind:
        case "stat":
            return {"reduceOptions": last, "colorMode": "value", "graphMode": "none", "textMode": "auto"}
        case "pie":
            return {"reduceOptions": last, "pieType": "donut", "legend": {**below, "values": ["percent"]}}
        case "heat":
            return {
                "calculate": False,
                "cellGap": 1,
                "color": {"mode": "scheme", "scheme": "Blues", "steps": 64},
                "yAxis": {"unit": panel.get("unit", "short")},
                "legend": {"show": False},
                "tooltip": {"mode": "single", "yHistogram": False},
            }
        case "states":
            return {"legend": below, "mergeValues": True, "rowHeight": 0.8, "showValue": "never"}
    return {"legend": below, "tooltip": {"mode": "multi", "sort": "desc"}}


def _panels(dashboard: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Rows and their panels, each at its place, from left to right and then down."""
    number, top = 0, 0
    for row in dashboard["row"]:
        number += 1
        place = {"x": 0, "y": top, "w": _PAGE, "h": 1}
        yield {"id": number, "type": "row", "title": row["title"], "collapsed": False, "gridPos": place, "panels": []}
        top, left, tallest = top + 1, 0, 0
        for panel in row["panel"]:
            kind, width = panel.get("kind", "line"), panel.get("width", _WIDTH)
            height = _HEIGHTS.get(kind, 8)
            if left + width > _PAGE:
                top, left, tallest = top + tallest, 0, 0
            number += 1
            yield {
                "id": number,
                "type": _TYPES[kind],
                "title": panel["title"],
                "description": panel.get("text", ""),
                "datasource": SOURCE,
                "gridPos": {"x": left, "y": top, "w": width, "h": height},
                "fieldConfig": _fields(panel, kind),
                "options": _options(panel, kind),
                "targets": _targets(panel, kind),
            }
            left, tallest = left + width, max(tallest, height)
        top += tallest


def _choices() -> list[dict[str, Any]]:
    return [
        {"name": "source", "label": "Prometheus", "type": "datasource", "query": "prometheus", "current": {}},
        {
            "name": "instance",
            "label": "Gateway",
            "type": "query",
            "datasource": SOURCE,
            "definition": 'label_values(up{job="octoroute"}, instance)',
            "query": {"qryType": 1, "query": 'label_values(up{job="octoroute"}, instance)', "refId": "instances"},
            "refresh": 2,
            "sort": 1,
            "multi": True,
            "includeAll": True,
            "allValue": ".*",
            "current": {"text": "All", "value": "$__all"},
        },
    ]


def made() -> dict[str, dict[str, Any]]:
    """Every dashboard by the name of its file."""
    listed = tomllib.loads(PANELS.read_text(encoding="utf-8"))["dashboard"]
    tags = ["octoroute"]
    links = [{"type": "dashboards", "tags": tags, "title": "octoroute", "asDropdown": True, "keepTime": True}]
    return {
        f"{each['uid'].removeprefix('octoroute-')}.json": {
            "uid": each["uid"],
            "title": f"octoroute: {each['title']}",
            "description": each["text"],
            "tags": tags,
            "links": links,
            "schemaVersion": 41,
            "editable": False,
            "graphTooltip": 1,
            "refresh": "15s",
            "time": {"from": "now-1h", "to": "now"},
            "timezone": "browser",
            "templating": {"list": _choices()},
            "panels": list(_panels(each)),
        }
        for each in listed
    }


def written(dashboard: dict[str, Any]) -> str:
    """The file's text."""
    return json.dumps(dashboard, indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    DASHBOARDS.mkdir(parents=True, exist_ok=True)
    for name, dashboard in made().items():
        (DASHBOARDS / name).write_text(written(dashboard), encoding="utf-8")
