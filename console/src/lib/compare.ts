/** Comparisons, the items that differ, and leaderboards (docs/statistics.md), and how they are said and drawn. Pure. */
import { number } from "./words";

/** The kinds whose entities can be compared. */
export const COMPARED = ["Evaluation", "SafetyCase", "Measurement"];
export const MOST = 8;

export interface Choice {
  method: string;
  methodName: string;
  dataset: string | null;
  scores: { name: string; title: string; priority: string }[];
  members: { entity: string; measurement: string }[];
}

export interface Comparables {
  entities: { id: string; kind: string; name: string; problem: string | null }[];
  choices: Choice[];
  notComparable: { a: string; b: string; why: string[] }[];
}

interface Outcomes {
  items: number;
  verdicts: number;
  errors: number;
  notScored: number;
}

export interface System {
  id: string;
  name: string;
  quantity: number;
  quantityString: string;
  evaluation: string | null;
  uncertainty: { low?: number | null; high?: number | null; level?: number | null };
  outcomes: Outcomes | null;
}

export interface Pair {
  a: string;
  b: string;
  better: string | null;
  higher: string | null;
  difference: number;
  estimate: { low: number | null; high: number | null; n: number; clusters: number | null };
  test: { p: number; pCorrected: number; comparisons: number; method: string };
  detectable: number | null;
  power: number;
  notes: string[];
}

export interface Comparison {
  score: string;
  title: string;
  valence: string;
  unit: string | null;
  level: number;
  systems: System[];
  pairs: Pair[];
}

export interface Item {
  index: number | string;
  number: number | null;
  values: (boolean | number | null)[];
  states: string[];
}

export interface Items {
  systems: string[];
  evaluations: (string | null)[];
  items: Item[];
  pairs: { a: string; b: string; aHigher: number; bHigher: number; equal: number; unpaired: number }[];
  count: number;
  next: string | null;
}

export interface Ranked extends System {
  measurement: string;
  ranks: { first: number; last: number } | null;
  against: {
    verdict: string;
    difference: number;
    low: number | null;
    high: number | null;
    p: number;
    pCorrected: number;
    n: number;
    clusters: number | null;
    test: string;
    detectable: number | null;
    power: number;
    notes: string[];
  } | null;
}

export interface Board {
  title: string;
  score: string;
  methodName: string;
  systems: Ranked[];
  valence: string;
  unit: string | null;
  reference: string | null;
  comparisons: number;
  notRanked: { name: string; measurement: string; why: string }[];
  leftOut: number;
  notes: string[];
  level: number;
}

export const VALENCE: Record<string, string> = {
  positive: "more is better", negative: "less is better", neutral: "neither more nor less is better",
};

const STATES: Record<string, string> = { error: "error", notScored: "not scored", missing: "no row" };

/** What the data says of a pair. A tie has no better one, and neither has a pair whose interval includes 0, whatever the server says. */
export function verdict(pair: Pair, nameOf: (id: string) => string): string {
  const { low, high } = pair.estimate;
  if (pair.higher === null || (low !== null && high !== null && low <= 0 && high >= 0)) return "no difference shown";
  return pair.better === null ? `${nameOf(pair.higher)} is higher` : `${nameOf(pair.better)} is better`;
}

/** The verdict of a leaderboard's row, with the same caution. */
export function standing(against: NonNullable<Ranked["against"]>): string {
  const { low, high } = against;
  return low !== null && high !== null && low <= 0 && high >= 0 ? "no difference shown" : against.verdict;
}

/** What such a study could have found; empty if the data cannot tell. */
export function couldFind(detectable: number | null, power: number): string {
  return detectable === null ? "" : `a difference of ${number(rounded(detectable))} would have been found in ${number(100 * power)} % of such studies`;
}

/** How many pairs a result rests on; of a tie, also what such a study could have found. */
export function basis(n: number, clusters: number | null, tie: boolean, detectable: number | null, power: number): string {
  const found = tie ? couldFind(detectable, power) : "";
  return `${number(n)} pairs${clusters === null ? "" : ` in ${number(clusters)} clusters`}${found === "" ? "" : `; ${found}`}`;
}

export function interval(low: number | null | undefined, high: number | null | undefined): string {
  return low == null || high == null ? "no interval" : `${plain(low)} to ${plain(high)}`;
}

export function signed(value: number): string {
  return value > 0 ? `+${plain(value)}` : plain(value);
}

/** A p-value: never 0. */
export function probability(p: number): string {
  return p < 0.0001 ? "< 0.0001" : number(Number(p.toPrecision(2)));
}

export function ranks(found: { first: number; last: number } | null): string {
  if (found === null) return "";
  return found.first === found.last ? `${found.first}` : `${found.first}\u2013${found.last}`;
}

/** The value of an item, or why there is none. */
export function valueWords(value: boolean | number | null, state: string): string {
  if (value === null) return STATES[state] ?? "none";
  return typeof value === "boolean" ? (value ? "true" : "false") : number(rounded(value));
}

export function itemKey(item: Item): string {
  return `${item.index}.${item.number ?? ""}`;
}

/** The index and the replication of a key; of an index that is a text, it may have a point itself. */
export function partsOf(key: string): { index: string; replication: string | null } {
  const at = key.lastIndexOf(".");
  return { index: key.slice(0, at), replication: key.slice(at + 1) || null };
}

export interface Scale {
  first: number;
  last: number;
}

/** A scale that has all of the values; with `zero`, also 0. A little wider, so that no mark is at its end. */
export function scaleOf(values: (number | null | undefined)[], zero = false): Scale {
  const known = values.filter((each): each is number => typeof each === "number" && Number.isFinite(each));
  if (zero) known.push(0);
  if (known.length === 0) return { first: 0, last: 1 };
  const least = Math.min(...known);
  const most = Math.max(...known);
  const room = 0.06 * (most - least) || Math.abs(most) * 0.1 || 1;
  return { first: least - room, last: most + room };
}

/** Where a value is on a scale, from 0 to 100. */
export function place(value: number, { first, last }: Scale): number {
  return Math.max(0, Math.min(100, (100 * (value - first)) / (last - first)));
}

export function idsOf(text: string | undefined): string[] {
  return [...new Set((text ?? "").split(",").filter((each) => /^[0-9a-f]{32}$/.test(each)))].slice(0, MOST);
}

/** Three digits, with a real minus. */
function plain(value: number): string {
  return number(rounded(value)).replace("-", "\u2212");
}

function rounded(value: number): number {
  return Number(value.toPrecision(3));
}
