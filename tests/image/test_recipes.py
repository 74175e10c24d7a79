"""What the images are called and made of."""

from __future__ import annotations

import pytest

from dyff.kernel import settings
from image import build


def test_the_environment_of_analyses_has_the_name_that_the_operator_looks_for():
    """So a node on which it was imported finds it without a setting."""
    assert build.RECIPES["analysis"].name == f"{settings.Operator().analysis_image}:latest"


@pytest.mark.parametrize("recipe", build.RECIPES.values(), ids=build.RECIPES)
def test_both_ways_to_build_make_the_same_image(recipe):
    """The Dockerfile has the user, the folder and the entry point of the image that is made without a builder."""
    lines = (build.ROOT / recipe.dockerfile).read_text().splitlines()
    assert f"USER {recipe.config['User']}" in lines
    assert f"WORKDIR {recipe.config['WorkingDir']}" in lines
    assert f'ENTRYPOINT ["{recipe.config["Entrypoint"][0]}"]' in lines
