import { expect, test } from "vitest";
import { blank, chosen, fieldOf, propertiesOf, put, refersTo, saidAt, shows, type Schemas } from "../src/lib/forms";
import { curl, literal, python } from "../src/lib/snippets";
import type { JsonObject, Kind } from "../src/lib/types";

const schemas: Schemas = {
  Volume: { type: "object", properties: { kind: { const: "Volume" }, files: { type: "array", items: { type: "string" } } }, required: ["kind", "files"] },
  Hub: { type: "object", description: "from the hub", properties: { kind: { enum: ["Hub"] }, id: { type: "string" } }, required: ["kind", "id"] },
};
const request: JsonObject = {
  type: "object",
  properties: {
    note: { anyOf: [{ type: "string", description: "a word" }, { type: "null" }], default: null },
    source: { anyOf: [{ $ref: "#/components/schemas/Volume" }, { $ref: "#/components/schemas/Hub" }] },
    schemaVersion: { enum: ["0.1"], default: "0.1" },
    count: { type: "integer", minimum: 1, default: 2 },
    extra: { type: "object", additionalProperties: { type: "string" } },
  },
  required: ["source"],
};

test("a field is known by its schema: choices, hint, default, and whether it can be left out", () => {
  const [source, note, count, extra] = propertiesOf(request).map(([, part]) => fieldOf(part, schemas));
  expect(source?.choices.map((each) => [each.label, each.shape])).toEqual([["Volume", "object"], ["Hub", "object"]]);
  expect(note).toMatchObject({ optional: true, hint: "a word", fallback: null });
  expect(note?.choices[0]?.shape).toBe("text");
  expect(count).toMatchObject({ optional: false, fallback: 2 });
  expect(extra?.choices[0]?.shape).toBe("json");
});

test("what must be there comes first, and what leaves no choice is not asked for", () => {
  expect(propertiesOf(request).map(([name]) => name)).toEqual(["source", "note", "count", "extra"]);
});

test("a blank value has what must be there, and is found again as the same alternative", () => {
  const choices = fieldOf({ anyOf: [{ $ref: "x/Volume" }, { $ref: "x/Hub" }] }, schemas).choices;
  const begun = choices.map((each) => blank(each, schemas));
  expect(begun).toEqual([{ kind: "Volume", files: [] }, { kind: "Hub", id: "" }]);
  expect(begun.map((each) => chosen(each, choices))).toEqual([0, 1]);
  expect(chosen("neither", choices)).toBe(0);
});

test("a value is put, replaced and removed at its path; nothing else changes", () => {
  const body = { a: { b: [1, 2, 3] }, c: "x" };
  expect(put(body, ["a", "b", 1], 9)).toEqual({ a: { b: [1, 9, 3] }, c: "x" });
  expect(put(body, ["a", "b", 0], undefined)).toEqual({ a: { b: [2, 3] }, c: "x" });
  expect(put(body, ["c"], undefined)).toEqual({ a: { b: [1, 2, 3] } });
  expect(put(body, ["d", "e"], true)).toEqual({ ...body, d: { e: true } });
  expect(body).toEqual({ a: { b: [1, 2, 3] }, c: "x" });
});

test("what the server says is at the field that it names", () => {
  const said = [{ loc: "client.batchSize", msg: "too small" }, { loc: "", msg: "both" }];
  expect(saidAt(said, ["client", "batchSize"])).toEqual(["too small"]);
  expect(saidAt(said, ["client"])).toEqual([]);
  expect(saidAt(said, [])).toEqual([]);
});

test("a place has a field only if all above it is there", () => {
  const body = { source: { kind: "Volume", files: ["a"] } };
  const there = ["source.files.0", "source", "note", "source.nothing", "note.x", "nothing", ""].filter((each) => shows(each, body, request, schemas));
  expect(there).toEqual(["source.files.0", "source", "note"]);
});

test("a field with the name of a kind refers to one", () => {
  const kinds = [{ name: "InferenceSession", plural: "inferencesessions" }, { name: "Module", plural: "modules" }] as Kind[];
  expect(refersTo("inferenceSessionReference", kinds)?.name).toBe("InferenceSession");
  expect(refersTo("modules", kinds)?.name).toBe("Module");
  expect(refersTo("replications", kinds)).toBeUndefined();
});

test("a value is written as Python writes it, and the token only as the name of a variable", () => {
  expect(literal({ a: [true, null, 1.5, 'x"\n\u2028'], b: {}, c: [] })).toBe(
    '{\n    "a": [\n        True,\n        None,\n        1.5,\n        "x\\"\\n\u2028",\n    ],\n    "b": {},\n    "c": [],\n}',
  );
  expect(python("http://h/v0", "datasets", { name: "n" })).toContain("client.datasets.create(");
  expect(curl("http://h/v0/datasets", { name: "it's $HOME" })).toContain("<<'JSON'\n{\n  \"name\": \"it's $HOME\"\n}\nJSON");
  expect(curl("http://h/v0/datasets", {})).toContain('"Authorization: Bearer $DYFF_API_TOKEN"');
});
