import { expect, test } from "vitest";
import { columns, ownFields, requestOf, title } from "../src/lib/entities";
import type { Entity, Json, Kind } from "../src/lib/types";

const kind = (name: string, filters: Record<string, string[]> = {}): Kind => ({
  name, plural: `${name.toLowerCase()}s`, title: name, operations: [], texts: [], success: "Ready", failure: "Failed", runs: false, page: false,
  request: null, logs: null, edits: [], filters: Object.entries(filters).map(([each, path]) => ({ name: each, path })),
});
const evaluation = kind("Evaluation", {
  id: ["id"], account: ["account"], status: ["status"], dataset: ["dataset"],
  inferenceService: ["inferenceSession", "inferenceService", "id"], inferenceServiceName: ["inferenceSession", "inferenceService", "name"],
});
const kinds = [evaluation, kind("Dataset"), kind("InferenceService")];
const ID = "0123456789abcdef0123456789abcdef";
const entity = (more: Record<string, unknown> = {}): Entity => ({ id: ID, kind: "Evaluation", account: "a", status: "Ready", creationTime: "", ...more });

test("a title comes first, then a name, then what it is about, then the beginning of the ID", () => {
  const about = { inferenceSession: { inferenceService: { id: ID, name: "mock" } } };
  const documented = { metadata: { documentation: { title: "A title" } } };
  expect(title(entity({ ...documented, name: "n", ...about }), evaluation)).toBe("A title");
  expect(title(entity({ name: "n", ...about }), evaluation)).toBe("n");
  expect(title(entity({ name: " ", ...about }), evaluation)).toBe("mock");
  expect(title(entity(), evaluation)).toBe("01234567");
});

test("the columns of a kind follow from what can be asked for: the name is shown, the ID is the link", () => {
  const named = { ...evaluation, filters: [{ name: "name", path: ["name"] }, ...evaluation.filters] };
  expect(columns(named, kinds)).toEqual([
    { name: "dataset", path: ["dataset"], link: { plural: "datasets", path: ["dataset"] } },
    {
      name: "inferenceService", path: ["inferenceSession", "inferenceService", "name"],
      link: { plural: "inferenceservices", path: ["inferenceSession", "inferenceService", "id"] },
    },
  ]);
});

test("what entities are called by is no column once more", () => {
  expect(columns(evaluation, kinds)).toEqual([{ name: "dataset", path: ["dataset"], link: { plural: "datasets", path: ["dataset"] } }]);
});

test("fields of the kind are shown, but for empty ones and those that all kinds have", () => {
  expect(ownFields(entity({ name: "n", replications: 2, views: [], client: {}, workers: null, labels: { a: "b" } }))).toEqual([["replications", 2]]);
});

const SCHEMAS = {
  Request: {
    type: "object",
    properties: {
      account: { type: "string" }, dataset: { type: "string" }, replications: { type: "integer" },
      session: { anyOf: [{ $ref: "#/components/schemas/Session" }, { type: "null" }] }, tags: { type: "array", items: { type: "string" } },
      free: {}, absent: { type: "string" },
    },
  },
  Session: { type: "object", properties: { inferenceService: { type: "string" } } },
} as unknown as Record<string, { [key: string]: Json }>;

test("a request for another such entity has the fields of the request, with IDs in place of what is embedded", () => {
  const whole = {
    id: ID, status: "Ready", account: "a", dataset: ID, replications: 2, absent: null, tags: ["x"], free: { any: 1 },
    session: { inferenceService: { id: "s1", name: "mock" }, expires: null },
  };
  expect(requestOf(whole, SCHEMAS["Request"] ?? {}, SCHEMAS)).toEqual({
    account: "a", dataset: ID, replications: 2, session: { inferenceService: "s1" }, tags: ["x"], free: { any: 1 },
  });
});
