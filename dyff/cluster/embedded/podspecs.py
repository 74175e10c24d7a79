"""Checks of a Pod's spec, alone or in the template of a Job or Deployment. Pure."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from dyff.cluster.embedded import names
from dyff.cluster.embedded.problems import Found, Path, items, mapping, problem
from dyff.kernel import errors


def template(value: Any, path: Path, policies: tuple[str, ...]) -> Found:
    """The problems of a pod template. `policies`: the restart policies that its owner allows."""
    yield from spec(mapping(value).get("spec"), (*path, "spec"), policies)
    yield from names.labels(mapping(mapping(value).get("metadata")).get("labels") or {}, (*path, "metadata", "labels"))


def spec(value: Any, path: Path, policies: tuple[str, ...]) -> Found:
    """The problems of a Pod's spec. `policies`: the allowed restart policies."""
    if not isinstance(value, dict) or not isinstance(value.get("containers"), list) or not value["containers"]:
        yield problem((*path, "containers"), "must be a list of at least one container")
        return
    if value.get("restartPolicy") not in policies:
        yield problem((*path, "restartPolicy"), f"must be {' or '.join(policies)}")
    grace = value.get("terminationGracePeriodSeconds")
    if type(grace) is not int or grace < 0:
        yield problem((*path, "terminationGracePeriodSeconds"), "must be a whole number, 0 or more")
    volumes = yield from _volumes(value.get("volumes"), (*path, "volumes"))
    seen: set[str] = set()
    for field in ("initContainers", "containers"):
        for each, at in items(value.get(field), (*path, field)):
            yield from _container(each, at, volumes)
            if each.get("name") in seen:
                yield problem((*at, "name"), f"must differ from the other containers': {each['name']!r} is taken")
            seen.add(str(each.get("name")))


def names_of_containers(value: dict[str, Any]) -> set[str]:
    """The names of all containers of a Pod's spec, as far as they have one."""
    return {str(each["name"]) for field in ("initContainers", "containers") for each, _ in items(value.get(field), ()) if "name" in each}


def fixed(value: dict[str, Any]) -> dict[str, Any]:
    """The part of a Pod's spec that must not change."""
    result = {key: each for key, each in value.items() if key != "activeDeadlineSeconds"}
    for field in ("initContainers", "containers"):
        if field in result:
            result[field] = [{key: part for key, part in each.items() if key != "image"} for each, _ in items(result[field], ())]
    return result


def _volumes(value: Any, path: Path) -> Generator[errors.Problem, None, set[str]]:
    """Yields the problems of volumes, and returns their names."""
    seen: set[str] = set()
    for each, at in items(value, path):
        name = each.get("name")
        if not names.is_label(name) or name in seen:
            yield problem((*at, "name"), "must be lower-case letters, digits and '-', and differ from the other volumes'")
        seen.add(str(name))
    return seen


def _container(each: dict[str, Any], path: Path, volumes: set[str]) -> Found:
    if not names.is_label(each.get("name")):
        yield problem((*path, "name"), "must be lower-case letters, digits and '-'")
    if not isinstance(each.get("image"), str) or not each["image"]:
        yield problem((*path, "image"), "is missing")
    for variable, at in items(each.get("env"), (*path, "env")):
        if not isinstance(variable.get("name"), str) or not variable["name"]:
            yield problem((*at, "name"), "is missing")
        if not isinstance(variable.get("value", ""), str):
            yield problem((*at, "value"), "must be a text")
    for mount, at in items(each.get("volumeMounts"), (*path, "volumeMounts")):
        if mount.get("name") not in volumes:
            yield problem((*at, "name"), f"must be one of the Pod's volumes: {mount.get('name')!r} is not")
        if not isinstance(mount.get("mountPath"), str) or not mount["mountPath"]:
            yield problem((*at, "mountPath"), "is missing")
