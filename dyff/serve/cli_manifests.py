"""The command `dyff manifests`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from dyff.kernel import settings
from dyff.serve import command_options


@click.group()
def manifests() -> None:
    """Print the manifests for Dyff on Kubernetes, as YAML for `kubectl apply -f -` ('dyff docs kubernetes')."""


_namespace = click.option("--namespace", "-n", default="dyff", show_default=True, metavar="NAME", help="Where Dyff and its workflows live.")


@manifests.command("crds")
def manifests_crds() -> None:
    """Print the definitions of the custom resources."""
    from dyff.entities import definitions

    _print_yaml(definitions.all_())


@manifests.command("rbac")
@_namespace
@command_options.role
def manifests_rbac(namespace: str, role: str) -> None:
    """Print a service account and its permissions for every role."""
    from dyff.serve import permissions, roles

    _print_yaml(list(permissions.manifests(namespace, {row.name: row.granted for row in roles.parse(role)})))


@manifests.command("deploy")
@_namespace
@command_options.role
@click.option("--image", default="dyff.local/dyff:latest", show_default=True, help="Dyff's own image (make image).")
@click.option("--config", required=True, type=click.Path(exists=True, dir_okay=False), metavar="FILE", help="Settings, for all roles.")
def manifests_deploy(namespace: str, role: str, image: str, config: str) -> None:
    """Print a Deployment for each role.

    Passwords and credentials belong in the Secret dyff-secrets: its keys are variables of every role, and files in
    /etc/dyff/secrets.
    """
    from dyff.serve import deployments, roles

    loaded = settings.load(config, environment={})
    text = Path(config).read_text()
    warned: list[str] = []
    documents = list(deployments.manifests(namespace, roles.parse(role), image, loaded, text, lambda each: warned.append(each.text())))
    for each in dict.fromkeys(warned):
        click.echo(f"warning: {each}", err=True)
    _print_yaml(documents)


def _print_yaml(documents: list[dict[str, Any]]) -> None:
    import yaml  # only here: no other command should wait for its import

    class Whole(yaml.SafeDumper):
        """Writes repeated values in full, without YAML anchors, since kubectl does not resolve them in what it prints back."""

        def ignore_aliases(self, data: Any) -> bool:
            return True

    click.echo(yaml.dump_all(documents, Dumper=Whole, sort_keys=False, width=120, explicit_start=True), nl=False)
