import { expect, test } from "vitest";
import { href, parse } from "../src/lib/place";

test.each([
  [[], {}],
  [["evaluations"], { status: "failed", labels: "a=b, c=" }],
  [["find"], { q: "50 % of #1 / ? & ünïcode" }],
  [["a/b", "%"], {}],
])("what is written into the fragment is read from it (%#)", (path, query) => {
  expect(parse(href(path, query))).toEqual({ path, query });
});

test("parameters without a value are left out", () => {
  expect(href(["datasets"], { name: null, after: undefined, status: "" })).toBe("#/datasets");
});

test("a fragment that nobody wrote does not fail", () => {
  expect(parse("#/%E0%A4%A/x?%")).toEqual({ path: ["%E0%A4%A", "x"], query: { "%": "" } });
});
