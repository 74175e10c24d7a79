"""The SDK on the routes for those who look: the example of docs/console-data.md, as it is written."""

from __future__ import annotations

import ast
import inspect
import re
from pathlib import Path
from typing import Any

import httpx
import pytest

from dyff.sdk import AsyncClient, errors
from tests.api import stored_samples as stored
from tests.narrowing import sure

DOCUMENT = Path(__file__).parents[2] / "docs" / "console-data.md"


async def test_the_example_works(world, capsys):
    """The whole block runs, and prints what is there."""
    rows = [{"_index_": index, "question": f"The capital of {index}?" + "x" * 3000} for index in range(3)]
    made = await stored.evaluation(world, {"a.parquet": stored.parquet(rows)})
    outputs = [stored.output(made["id"], index, "Paris") for index in range(3)]
    await stored.publish(world, f"outputs/{made['id']}/", {"part-00000.parquet": stored.parquet(outputs, stored.OUTPUTS)})
    (block,) = re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
    transport = httpx.ASGITransport(world.app)
    async with AsyncClient(endpoint="http://dyff.test/v0", api_token=world.admin, http=transport) as client:
        given: dict[str, Any] = {
            "client": client, "evaluation_id": made["id"], "dataset_id": made["dataset"], "account_id": world.account,
        }  # fmt: skip
        code = compile(block, str(DOCUMENT), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        result = eval(code, given)
        assert inspect.isawaitable(result)
        await result
        printed = capsys.readouterr().out
        assert "question 3017" in printed
        assert made["dataset"] in printed
        assert re.search(r"Created None", printed)
        found = [each.index async for each in client.evaluations.samples(made["id"], replication=0, errors=False)]
        assert found == [0, 1, 2]
        with pytest.raises(errors.Refused):
            [each async for each in client.evaluations.samples((await client.evaluations.create(await world.evaluation_body())).id)]
        (first,) = await client.evaluations.sample(made["id"], 0)
        with pytest.raises(ValueError, match="whole"):
            await client.evaluations.sample_value(sure(first.responses)[0][0])
