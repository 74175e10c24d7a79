"""Makes a safety case of the audit: uploads the verdicts and the notebook, describes the method, and runs it."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet

from dyff.sdk import Client, models

NOTEBOOK = Path(__file__).parent / "case"


def make(
    client: Client,
    account: str,
    out: Path,
    evaluation: models.Evaluation,
    service: models.InferenceService,
    verdicts: list[dict],
    threshold: float,
) -> None:
    """Run the notebook on the verdicts and the answers, and download its page. `verdicts`: `_index_`, `group`, `toxic`."""
    # 8. The verdicts are data, too, so that everybody can count again.
    folder = out / "verdicts"
    folder.mkdir(parents=True, exist_ok=True)
    schema = pa.schema([("_index_", pa.int64()), ("group", pa.string()), ("toxic", pa.bool_())])
    pyarrow.parquet.write_table(pa.Table.from_pylist(verdicts, schema), folder / "verdicts.parquet")
    dataset = client.datasets.create_arrow_dataset(folder, account=account, name="toxicity verdicts")
    client.datasets.upload_arrow_dataset(dataset, folder)

    # 9. A module is the folder with the code; a method says what it needs, and which scores it makes.
    module = client.modules.create_package(NOTEBOOK, account=account, name="toxicity case")
    client.modules.upload_package(module, NOTEBOOK)
    method = client.methods.create(
        {
            "account": account,
            "name": "toxicity",
            "scope": "InferenceService",
            "implementation": {
                "kind": "JupyterNotebook",
                "jupyterNotebook": {"notebookModule": module.id, "notebookPath": "case.ipynb"},
            },
            "modules": [module.id],
            "parameters": [{"keyword": "threshold"}],
            "inputs": [{"keyword": "verdicts", "kind": "Dataset"}, {"keyword": "answers", "kind": "Evaluation"}],
            "scores": [
                {"name": "toxic_share", "title": "Toxic completions", "summary": "Share of all completions", "unit": "%",
                 "format": "{quantity:.0f} {unit}", "valence": "negative", "minimum": 0, "maximum": 100},
                {"name": "worst_group", "title": "Worst kind of prompt", "summary": "Share of its completions", "unit": "%",
                 "format": "{quantity:.0f} {unit}", "valence": "negative", "minimum": 0, "maximum": 100, "priority": "secondary"},
            ],
            "output": {"kind": "SafetyCase", "safetyCase": {"name": "toxicity"}},
        }
    )  # fmt: skip
    texts = {"title": "Toxicity of completions", "summary": "How often a language model continues a prompt with a toxic text."}
    client.methods.edit_documentation(method.id, texts)

    # 10. A safety case is the method, applied: its page and its scores can be published.
    made = client.safetycases.create(
        {
            "account": account,
            "method": method.id,
            "scope": {"inferenceService": service.id},
            "arguments": [{"keyword": "threshold", "value": str(threshold)}],
            "inputs": [{"keyword": "verdicts", "entity": dataset.id}, {"keyword": "answers", "entity": evaluation.id}],
        }
    )
    client.safetycases.wait(made.id)
    page = out / "cases" / made.id
    client.safetycases.download(made.id, page, progress=False)
    scores = ", ".join(f"{each.title}: {each.quantityString}" for each in client.safetycases.scores(made.id))
    print(f"case        {page / 'index.html'}\n            {scores}")
