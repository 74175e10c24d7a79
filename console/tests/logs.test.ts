import { expect, test } from "vitest";
import { collapsed, joined } from "../src/lib/logs";

test.each([
  ["plain", "plain"],
  ["10 %\r50 %\r100 %", "100 %"],
  ["done\r\n", "done"],
  ["\u001b[31mred\u001b[0m and \u001b[2Kgone", "red and gone"],
  ["a\u0007b\u0000c\td", "a\u25a1b\u25a1c\td"],
])("a line is what a terminal would show of it, and obeys nothing (%#)", (given, want) => {
  expect(collapsed(given)).toBe(want);
});

const line = (timestamp: string, message: string) => ({ timestamp, message });

test("lines that come twice are shown once, also those of the same instant", () => {
  const known = [line("1", "a"), line("2", "b")];
  expect(joined(known, [line("2", "b"), line("2", "c"), line("3", "d")], 10).map((each) => each.message)).toEqual(["a", "b", "c", "d"]);
  expect(joined(known, [line("2", "b")], 10)).toBe(known);
});

test("a log that goes on for ever does not grow for ever", () => {
  expect(joined([line("1", "a"), line("2", "b")], [line("3", "c")], 2).map((each) => each.message)).toEqual(["b", "c"]);
});
