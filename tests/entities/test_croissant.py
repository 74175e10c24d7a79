"""A dataset as Croissant describes it; tests/acceptance/test_exports.py has its own reader read it."""

from __future__ import annotations

from dyff.entities.exports import croissant

ID = "a" * 32
DATASET = {"id": ID, "name": "prompts", "creationTime": "2026-01-01T00:00:00Z"}
BASE = "https://dyff.test/x"
SHA = "0" * 64
COLUMNS = [
    {"name": "_index_", "arrow": "int64", "type": "cr:Int64"},
    {"name": "a b", "arrow": "struct", "about": "Parts", "fields": [{"name": "it's", "arrow": "int8", "type": "cr:Int8", "shape": "-1"}]},
]


def document(*paths, dataset=DATASET, columns=COLUMNS, digest="d" * 64):
    files = [croissant.File(each, 3, {"sha256": SHA, "md5": "x"}) for each in paths]
    return croissant.document(dataset, files, columns, base=BASE, digest=digest)


def test_files_have_stable_addresses_sizes_and_one_digest():
    """The address is the API's, quoted; the digest is the SHA-256, and the MD5 in hex only if there is no other."""
    (file,) = document("a b/part.parquet")["distribution"]
    assert file == {
        "@type": "cr:FileObject", "@id": "files/a%20b/part.parquet", "name": "a b/part.parquet", "contentSize": "3 B", "sha256": SHA,
        "contentUrl": f"{BASE}/v0/datasets/{ID}/files/a%20b/part.parquet", "encodingFormat": "application/x-parquet",
    }  # fmt: skip
    old = [croissant.File("x.parquet", 0, {"md5": "1B2M2Y8AsgTpgAmY7PhCfg=="}), croissant.File("y.parquet", 0, {"md5": "odd"})]
    found = croissant.document(DATASET, old, [], base=BASE, digest=None)
    assert [(each.get("md5"), each.get("sha256")) for each in found["distribution"]] == [
        ("d41d8cd98f00b204e9800998ecf8427e", None),
        (None, None),
    ]
    assert [each["value"] for each in found["identifier"]] == [ID]


def test_a_date_is_given_if_it_is_known():
    """Of when the dataset was created; a reader takes its absence, and not an empty text."""
    assert document("part.parquet")["dateCreated"] == "2026-01-01T00:00:00Z"
    assert "dateCreated" not in document("part.parquet", dataset={"id": ID, "name": "prompts"})


def test_fields_lead_to_their_values():
    """Each column to the file, each part of a struct by a path inside of it; the index is the key."""
    (rows,) = document("part.parquet")["recordSet"]
    source = {"fileObject": {"@id": "files/part.parquet"}}
    assert (rows["@id"], rows["key"]) == ("rows", {"@id": "rows/_index_"})
    index, struct = rows["field"]
    assert (index["dataType"], index["source"]) == ("cr:Int64", {**source, "extract": {"column": "_index_"}})
    assert (struct["@id"], struct["description"], "dataType" in struct) == ("rows/a%20b", "Parts (Arrow type: struct)", False)
    (part,) = struct["subField"]
    assert (part["@id"], part["isArray"], part["arrayShape"]) == ("rows/a%20b/it%27s", True, "-1")
    assert part["source"] == {**source, "extract": {"column": "a b"}, "transform": {"jsonPath": "$.'it\\'s'"}}


def test_each_file_is_a_record_set_until_there_are_too_many():
    """Then one record set of all files in a folder has the fields once. What is no Parquet file has no rows."""
    several = document("0.parquet", "1.parquet", "README.md")
    assert [each["@id"] for each in several["recordSet"]] == ["rows/0.parquet", "rows/1.parquet"]
    assert several["distribution"][2]["encodingFormat"] == "application/octet-stream"
    many = document(*(f"{n}.parquet" for n in range(croissant.MAX_DESCRIBED)))
    (rows,) = many["recordSet"]
    assert rows["field"][0]["source"]["fileSet"] == {"@id": many["distribution"][-1]["@id"]}
    assert many["distribution"][-1]["includes"] == "*.parquet"


def test_columns_in_paths_are_said_and_not_described():
    """No reader of Croissant would find their values."""
    columns = [*COLUMNS, {"name": "lang", "arrow": "string", "type": "sc:Text"}]
    found = document("lang=de/0.parquet", columns=columns)
    assert [each["name"] for each in found["recordSet"][0]["field"]] == ["_index_", "a b"]
    assert "values of lang are not in the files" in found["description"]


def test_texts_come_from_the_documentation_and_nothing_is_invented():
    """Without documentation there is the name; licence, citation, creator and dates of publication are never made up."""
    texts = {"title": "Prompts", "summary": "Short."}
    found = document("0.parquet", dataset={**DATASET, "metadata": {"documentation": texts}})
    assert (found["name"], found["description"]) == ("Prompts", "Short.")
    plain = document("0.parquet")
    assert (plain["name"], "prompts" in plain["description"], plain["dateCreated"]) == ("prompts", True, DATASET["creationTime"])
    assert not {"license", "citeAs", "creator", "datePublished", "version"} & set(plain)
    assert "recordSet" not in document("0.parquet", columns=[])


def test_statements_of_the_exporter_are_added_as_given():
    """A licence and a citation, each only if it is given."""
    assert croissant.with_statements({"x": 1}) == {"x": 1}
    assert croissant.with_statements({}, license_url="https://l", citation="C") == {"license": "https://l", "citeAs": "C"}
