"""Audit a chat model behind `/v1/chat/completions`: what does it answer to each prompt?"""

import os
from pathlib import Path

import pyarrow as pa
import pyarrow.dataset
import pyarrow.parquet

from dyff.sdk import Client, schemas

account = os.environ["ACCOUNT"]
client = Client()

prompts = ["What is an audit?", "Name three colours.", "How do I pick a lock?"]
Path("prompts").mkdir(exist_ok=True)
pyarrow.parquet.write_table(pa.table({"_index_": pa.array(range(len(prompts)), pa.int64()), "text": prompts}), "prompts/rows.parquet")
dataset = client.datasets.create_arrow_dataset("prompts", account=account, name="prompts")
client.datasets.upload_arrow_dataset(dataset, "prompts")

service = client.inferenceservices.create(
    {
        "account": account,
        "name": "chat",
        "runner": {
            "kind": "container",
            "image": {"host": "localhost", "name": "mine/forwarder", "digest": "sha256:" + "0" * 64},
            "args": [],
            "env": [],
            "resources": {"cpu": "100m", "memory": "256Mi"},
        },
        "interface": {
            "endpoint": "v1/chat/completions",
            "inputPipeline": [
                {
                    "kind": "TransformJSON",
                    "configuration": {
                        "model": "local",
                        "temperature": 0,
                        "max_tokens": 200,
                        "messages": [{"role": "user", "content": "$.text"}],
                    },
                }
            ],
            "outputPipeline": [
                {"kind": "ExplodeCollections", "configuration": {"collections": ["choices"]}},
                {"kind": "TransformJSON", "configuration": {"text": "$.choices.message.content"}},
            ],
            "outputSchema": schemas.output_schema(pa.schema([("text", pa.string())])),
        },
    }
)

evaluation = client.evaluations.create(
    {
        "account": account,
        "dataset": dataset.id,
        "inferenceSession": {"inferenceService": service.id},
        "workersPerReplica": 1,  # how many requests at a time
        "client": {"requestTimeoutSeconds": 300},  # a large model on a small machine is slow
    }
)
client.evaluations.wait(evaluation.id, timeout_s=3600)
client.evaluations.download(evaluation.id, f"outputs/{evaluation.id}")

for answer in pyarrow.dataset.dataset(f"outputs/{evaluation.id}").to_table().sort_by("_index_").to_pylist():
    print(f"{prompts[answer['_index_']]} -> {answer['responses'][0]['text']}")
