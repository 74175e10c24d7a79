"""Audit the classifier: how often does it grant a loan, by age group?"""

import os
import random
from collections import defaultdict
from pathlib import Path

import pyarrow as pa
import pyarrow.dataset
import pyarrow.parquet

from dyff.sdk import Client, schemas

account = os.environ["ACCOUNT"]
client = Client()

# A dataset is a folder of Parquet files. `_index_` identifies each row.
draw = random.Random(1)
rows = [
    {"_index_": n, "group": draw.choice(["young", "old"]), "income": draw.uniform(10, 100), "debt": draw.uniform(0, 60)} for n in range(200)
]
Path("applicants").mkdir(exist_ok=True)
pyarrow.parquet.write_table(pa.Table.from_pylist(rows), "applicants/rows.parquet")
dataset = client.datasets.create_arrow_dataset("applicants", account=account, name="applicants")
client.datasets.upload_arrow_dataset(dataset, "applicants")

# An inference service says what runs, how a row becomes a request, and what an answer has.
service = client.inferenceservices.create(
    {
        "account": account,
        "name": "classifier",
        "runner": {
            "kind": "container",
            # The settings file says which program this is. On one machine, the digest is not used.
            "image": {"host": "localhost", "name": "mine/classifier", "digest": "sha256:" + "0" * 64},
            "args": [],
            "env": [{"name": "OMP_NUM_THREADS", "value": "1"}],
            "resources": {"cpu": "1", "memory": "1Gi"},
        },
        "interface": {
            "endpoint": "decide",
            "inputPipeline": [{"kind": "TransformJSON", "configuration": {"income": "$.income", "debt": "$.debt"}}],
            "outputSchema": schemas.output_schema(pa.schema([("granted", pa.bool_()), ("probability", pa.float64())])),
        },
    }
)

# An evaluation starts the service, sends it every row, and stops it again.
evaluation = client.evaluations.create({"account": account, "dataset": dataset.id, "inferenceSession": {"inferenceService": service.id}})
client.evaluations.wait(evaluation.id)
client.evaluations.download(evaluation.id, f"outputs/{evaluation.id}")

decisions = defaultdict(list)
for answer in pyarrow.dataset.dataset(f"outputs/{evaluation.id}").to_table().to_pylist():
    decisions[rows[answer["_index_"]]["group"]].append(answer["responses"][0]["granted"])
for group, granted in sorted(decisions.items()):
    print(f"{group}: {sum(granted)} of {len(granted)} granted")
