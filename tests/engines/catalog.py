"""The servers there are recipes for."""

from __future__ import annotations

from tests.engines.kafka.recipe import Kafka
from tests.engines.kubernetes.recipe import Kubernetes
from tests.engines.node.recipe import Node
from tests.engines.recipes import Recipe
from tests.engines.seaweedfs.recipe import SeaweedFS
from tests.engines.secantusdb.recipe import SecantusDB

RECIPES: dict[str, Recipe] = {each.name: each for each in (Kafka(), SecantusDB(), SeaweedFS(), Kubernetes(), Node())}
