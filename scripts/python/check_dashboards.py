"""Checks Grafana dashboards against the models of Grafana's SDK, and the places and names of their panels.

A model drops what it does not know, so whatever a dashboard loses on the way through the models is an error.
"""

import json
import sys

from grafana_foundation_sdk.cog import encoder, plugins
from grafana_foundation_sdk.models import dashboard as models

# Fields of the data source Prometheus, which the SDK models as an open map that it does not keep.
OF_PROMETHEUS = {"step", "titleFormat", "useValueForTime"}
COLUMNS = 24


def lost(before, after, path):
    """Yields the path of each value that differs."""
    if isinstance(before, dict) and isinstance(after, dict):
        for name, value in before.items():
            if name in after:
                yield from lost(value, after[name], f"{path}.{name}")
            elif not (path.startswith(".annotations.list") and name in OF_PROMETHEUS):
                yield f"{path}.{name} is not in the model"
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for index, values in enumerate(zip(before, after)):
            yield from lost(*values, f"{path}[{index}]")
    elif before != after:
        yield f"{path} is {before!r}, and the model reads {after!r}"


def misplaced(panels):
    """Yields what is wrong with the ids and places of the panels."""
    ids = [panel["id"] for panel in panels]
    if len(ids) != len(set(ids)):
        yield "two panels have the same id"
    owners = {}
    for panel in panels:
        place = panel["gridPos"]
        if place["x"] + place["w"] > COLUMNS:
            yield f"the panel {panel['title']} ends beyond column {COLUMNS}"
        for x in range(place["x"], place["x"] + place["w"]):
            for y in range(place["y"], place["y"] + place["h"]):
                other = owners.setdefault((x, y), panel["title"])
                if other != panel["title"]:
                    yield f"the panels {other} and {panel['title']} overlap at column {x}, row {y}"
                    return


def main(files):
    plugins.register_default_plugins()
    faults, uids, panels = 0, {}, 0
    for name in files:
        with open(name, encoding="utf-8") as file:
            dashboard = json.load(file)
        model = models.Dashboard.from_json(dashboard)
        after = json.loads(json.dumps(model, cls=encoder.JSONEncoder))
        found = [*lost(dashboard, after, ""), *misplaced(dashboard["panels"])]
        other = uids.setdefault(dashboard["uid"], name)
        if other != name:
            found.append(f"{other} has the same uid")
        for fault in found:
            print(f"{name}: {fault}", file=sys.stderr)
        faults += len(found)
        panels += len(dashboard["panels"])
    if faults:
        return f"error: {faults} faults in {len(files)} dashboards"
    print(f"Summary: {len(files)} dashboards with {panels} panels and rows fit Grafana's models")
    return None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
