import { expect, test } from "vitest";
import { asked, isFiltered, labelsOf, PAGE } from "../src/lib/filters";
import type { Kind } from "../src/lib/types";

const kind = { plural: "datasets", filters: [{ name: "status", path: ["status"] }, { name: "name", path: ["name"] }] } as Kind;

test("a list asks for one more than it shows, newest first, and only for the fields that it shows", () => {
  const fields = "status,reason,creationTime,labels,metadata.documentation.title,name";
  expect(asked(kind, {}, [])).toEqual({ limit: PAGE + 1, orderBy: "creationTime", order: "descending", fields });
  expect(asked(kind, { by: "lastTransitionTime" }, [])["fields"]).toContain("lastTransitionTime");
});

test("filters of the kind are passed on, others of the place are not", () => {
  expect(asked(kind, { name: "n", status: "Ready", other: "x", after: "[1]" }, [])).toMatchObject({ name: "n", status: "Ready", after: "[1]" });
  expect(asked(kind, { other: "x" }, [])).not.toHaveProperty("other");
  expect(isFiltered(kind, { other: "x", after: "[1]" })).toBe(false);
  expect(isFiltered(kind, { name: "n" })).toBe(true);
});

test("a group of statuses is a query for any of them", () => {
  const found = asked(kind, { status: "failed" }, []);
  expect(JSON.parse(String(found["query"]))).toEqual({ status: ["Failed", "Error", "Denied"] });
  expect(found).not.toHaveProperty("status");
});

test("labels are key=value with commas between them; anything else is named", () => {
  expect(labelsOf("a=b, example.org/c=")).toEqual({ a: "b", "example.org/c": "" });
  expect(() => labelsOf("a=b, c")).toThrow("“c” is no label");
});
