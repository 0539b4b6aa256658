"""Checks Kubernetes manifests: each object against the schema of its kind, and the objects against each other."""

import sys

import kubernetes_validate
import yaml
from cloudcoil.models.prometheus_operator import v1 as operator

# The oldest version that the manifests are written for: since then, a container can sleep before it stops.
VERSION = "1.32"
OPERATOR = "monitoring.coreos.com/v1"


def lost(before, after, path=""):
    """Yields the path of each value that a model does not keep: it does not know the field."""
    if isinstance(before, dict) and isinstance(after, dict):
        for name, value in before.items():
            if name in after:
                yield from lost(value, after[name], f"{path}.{name}")
            else:
                yield f"{path}.{name} is not in the schema"
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for index, values in enumerate(zip(before, after)):
            yield from lost(*values, f"{path}[{index}]")


def against_schema(item):
    """Yields what the schema of the object's kind rejects."""
    if item["apiVersion"] == OPERATOR:
        model = getattr(operator, item["kind"])
        try:
            kept = model.model_validate(item).model_dump(by_alias=True, exclude_none=True, mode="json")
        except ValueError as error:
            yield str(error)
        else:
            yield from lost(item, kept)
        return
    try:
        kubernetes_validate.validate(item, VERSION, strict=True)
    except kubernetes_validate.ValidationError as error:
        yield f"{'.'.join(str(part) for part in error.path)}: {error.message}"


def labels_of(deployment):
    return deployment["spec"]["template"]["metadata"]["labels"]


def selects(selector, labels):
    return all(labels.get(name) == value for name, value in selector.items())


def ports_of(deployment):
    containers = deployment["spec"]["template"]["spec"]["containers"]
    return {port["name"] for container in containers for port in container["ports"]}


def against_each_other(items):
    """Yields references that lead nowhere."""
    of_kind = lambda kind: [item for item in items if item["kind"] == kind]
    deployments = {item["metadata"]["name"]: item for item in of_kind("Deployment")}
    for deployment in deployments.values():
        if not selects(deployment["spec"]["selector"]["matchLabels"], labels_of(deployment)):
            yield f"Deployment {deployment['metadata']['name']} does not select its own pods"
    for service in of_kind("Service"):
        chosen = [one for one in deployments.values() if selects(service["spec"]["selector"], labels_of(one))]
        ports = {port["targetPort"] for port in service["spec"]["ports"]}
        if len(chosen) != 1 or not ports <= ports_of(chosen[0]):
            yield f"Service {service['metadata']['name']} does not lead to the ports of one Deployment"
    for budget in of_kind("PodDisruptionBudget"):
        selector = budget["spec"]["selector"]["matchLabels"]
        if sum(selects(selector, labels_of(one)) for one in deployments.values()) != 1:
            yield f"PodDisruptionBudget {budget['metadata']['name']} does not select one Deployment"
    for scaler in of_kind("HorizontalPodAutoscaler"):
        target = scaler["spec"]["scaleTargetRef"]["name"]
        if target not in deployments or "replicas" in deployments[target]["spec"]:
            yield f"HorizontalPodAutoscaler {target}: no such Deployment, or one with a number of replicas"
    for monitor in of_kind("ServiceMonitor"):
        selector = monitor["spec"]["selector"]["matchLabels"]
        if sum(selects(selector, one["metadata"]["labels"]) for one in of_kind("Service")) != len(deployments):
            yield "the ServiceMonitor does not select the Service of every Deployment"
    for policy in of_kind("NetworkPolicy"):
        named = {rule["port"] for way in policy["spec"].get("ingress", []) for rule in way["ports"]}
        if not all(named <= ports_of(deployment) for deployment in deployments.values()):
            yield f"NetworkPolicy {policy['metadata']['name']} names a port that no container has"


def main(names):
    items, faults = [], []
    for name in names:
        with open(name, encoding="utf-8") as file:
            found = list(yaml.safe_load_all(file))
        items += found
        for item in found:
            title = f"{name}: {item['kind']} {item['metadata']['name']}"
            faults += [f"{title}: {fault}" for fault in against_schema(item)]
    faults += against_each_other(items)
    for fault in faults:
        print(fault, file=sys.stderr)
    if faults:
        return f"error: {len(faults)} faults in the manifests"
    print(f"Summary: {len(items)} objects in {len(names)} manifests fit their schemas and each other")
    return None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
