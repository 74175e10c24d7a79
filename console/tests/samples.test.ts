import { expect, test } from "vitest";
import { conversation, firstLine, scoreWords, type Cell, type Sample } from "../src/lib/samples";
import type { Json } from "../src/lib/types";

const cell = (name: string, kind: Cell["kind"], value: Json, more: Partial<Cell> = {}): Cell => ({ name, kind, value, bytes: 1, cut: false, url: null, ...more });

test.each([
  [[{ role: "user", content: "a" }, { role: "assistant", content: [{ type: "text", text: "b" }, { type: "image_url" }] }], [{ role: "user", text: "a" }, { role: "assistant", text: "b\n[image_url]" }]],
  [[{ from: "human", value: "a" }], [{ role: "human", text: "a" }]],
  [[{ role: "assistant", content: null }], [{ role: "assistant", text: "" }]],
  [[], null], ["text", null], [[{ a: 1 }], null], [["a"], null], [[{ role: "user", content: 5 }], null],
] as [Json, unknown][])("the usual forms of conversations are found, and nothing else (%#)", (given, want) => {
  expect(conversation(given)).toEqual(want);
});

test("the line of a sample is its longest text, the last turn of a conversation, or what there is", () => {
  expect(firstLine([cell("a", "json", 1), cell("b", "text", " two\n lines "), cell("group", "text", "short")])).toBe("two lines");
  expect(firstLine([cell("m", "json", [{ role: "user", content: "hi" }])])).toBe("hi");
  expect(firstLine([cell("i", "bytes", null, { mediaType: "image/png" })])).toBe("[image/png]");
  expect(firstLine(null)).toBe("");
});

test("scores are shown by their columns, without those that only identify the row", () => {
  const sample = { scores: [{ measurement: "m", row: [cell("_index_", "json", 7), cell("correct", "json", true), cell("why", "text", "exact")] }] } as unknown as Sample;
  expect(scoreWords(sample)).toEqual([{ name: "correct", value: "true" }, { name: "why", value: "exact" }]);
});

test("a score is short in a list", () => {
  const row = [0.01692914038457306, 1.5e-9, 3, null].map((value, n) => cell(`s${n}`, "json", value));
  const sample = { scores: [{ measurement: "m", row }] } as unknown as Sample;
  expect(scoreWords(sample).map(({ value }) => value)).toEqual(["0.01693", "1.5e-9", "3", "null"]);
});
