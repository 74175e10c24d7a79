import { expect, test } from "vitest";
import { basis, couldFind, idsOf, interval, itemKey, partsOf, place, probability, ranks, scaleOf, signed, standing, valueWords, verdict, type Pair, type Ranked } from "../src/lib/compare";

const A = "a".repeat(32);
const B = "b".repeat(32);
const nameOf = (id: string): string => (id === A ? "one" : "two");
const pair = (low: number | null, high: number | null, better: string | null, higher: string | null = better): Pair => ({
  a: A, b: B, better, higher, difference: 0.1, estimate: { low, high, n: 9, clusters: null },
  test: { p: 0.01, pCorrected: 0.02, comparisons: 1, method: "t" }, detectable: null, power: 0.8, notes: [],
});

test.each([
  [pair(0.1, 0.3, B), "two is better"],
  [pair(-0.3, -0.1, A), "one is better"],
  [pair(0.1, 0.3, null, B), "two is higher"],
  [pair(-0.1, 0.3, null), "no difference shown"],
  [pair(-0.1, 0.3, B), "no difference shown"],
  [pair(0, 0.3, B), "no difference shown"],
  [pair(null, null, B), "two is better"],
])("nothing is better where the interval includes zero, whatever the server says (%#)", (given, want) => {
  expect(verdict(given, nameOf)).toBe(want);
});

test("a leaderboard's row is as careful", () => {
  const against = { verdict: "better", low: -0.1, high: 0.2 } as NonNullable<Ranked["against"]>;
  expect(standing(against)).toBe("no difference shown");
  expect(standing({ ...against, low: 0.1 })).toBe("better");
});

test("ranks are a range where they are shared", () => {
  expect([ranks({ first: 1, last: 3 }), ranks({ first: 2, last: 2 }), ranks(null)]).toEqual(["1–3", "2", ""]);
});

test("a scale has all of its values, and room", () => {
  const scale = scaleOf([0.5, null, undefined, 1]);
  expect(scale.first).toBeLessThan(0.5);
  expect(scale.last).toBeGreaterThan(1);
  expect(place(0.75, scale)).toBeCloseTo(50);
  expect(place(9, scale)).toBe(100);
  expect(scaleOf([0.5, 0.7], true).first).toBeLessThan(0);
  expect(scaleOf([3]).first).toBeLessThan(3);
  expect(scaleOf([])).toEqual({ first: 0, last: 1 });
});

test("an item is found by its index and replication, also if the index is a text with a point", () => {
  expect(partsOf(itemKey({ index: "a.b", number: 2, values: [], states: [] }))).toEqual({ index: "a.b", replication: "2" });
  expect(partsOf(itemKey({ index: 7, number: null, values: [], states: [] }))).toEqual({ index: "7", replication: null });
});

test("words", () => {
  expect([valueWords(true, "verdict"), valueWords(0.123456, "verdict"), valueWords(null, "error"), valueWords(null, "missing")]).toEqual(["true", "0.123", "error", "no row"]);
  expect([probability(1e-9), probability(0.0312)]).toEqual(["< 0.0001", "0.031"]);
  expect([signed(0.25), signed(-0.25)]).toEqual(["+0.25", "−0.25"]);
  expect([interval(0.1, 0.2), interval(null, 0.2)]).toEqual(["0.1 to 0.2", "no interval"]);
  expect([couldFind(0.05, 0.8), couldFind(null, 0.8)]).toEqual(["a difference of 0.05 would have been found in 80 % of such studies", ""]);
});

test("IDs of a place are checked, different, and not too many", () => {
  expect(idsOf(`${A},${B},${A},x`)).toEqual([A, B]);
  expect(idsOf(Array.from({ length: 12 }, (_, n) => n.toString(16).repeat(32).slice(0, 32)).join())).toHaveLength(8);
  expect(idsOf(undefined)).toEqual([]);
});

test("a result rests on pairs, and a tie says what could have been found", () => {
  expect(basis(250, null, false, 0.05, 0.8)).toBe("250 pairs");
  expect(basis(250, 40, false, 0.05, 0.8)).toBe("250 pairs in 40 clusters");
  expect(basis(250, null, true, 0.05, 0.8)).toBe("250 pairs; a difference of 0.05 would have been found in 80 % of such studies");
  expect(basis(250, 40, true, null, 0.8)).toBe("250 pairs in 40 clusters");
});
