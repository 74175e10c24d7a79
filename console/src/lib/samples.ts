/** The samples of an evaluation (docs/console-data.md), and how a value is best shown. Pure. */
import type { Json } from "./types";

export interface Cell {
  name: string;
  kind: "text" | "json" | "bytes" | "none";
  value: Json;
  /** The whole length; null if it is so large that it was not measured. */
  bytes: number | null;
  cut: boolean;
  url: string | null;
  mediaType?: string | null;
}

export interface Sample {
  index: number;
  replication: string;
  number: number | null;
  item: Cell[] | null;
  responses: Cell[][] | null;
  error: Cell[] | null;
  exchanges: { row: Cell[] }[] | null;
  scores: { measurement: string; row: Cell[] }[];
}

export interface SamplePage {
  samples: Sample[];
  next: string | null;
  looked: number;
  missing: { what: string; why: string }[];
  replications: string[];
  measurements: { id: string; name: string | null; columns: string[] }[];
}

export interface Turn {
  role: string;
  text: string;
}

/** The turns of a conversation in one of the usual forms; null if the value is none. */
export function conversation(value: Json): Turn[] | null {
  if (!Array.isArray(value) || value.length === 0) return null;
  const turns: Turn[] = [];
  for (const each of value) {
    if (typeof each !== "object" || each === null || Array.isArray(each)) return null;
    const role = each["role"] ?? each["from"];
    const text = said(each["content"] ?? each["value"] ?? each["text"] ?? null);
    if (typeof role !== "string" || text === null) return null;
    turns.push({ role, text });
  }
  return turns;
}

function said(content: Json): string | null {
  if (typeof content === "string") return content;
  if (content === null) return "";
  if (!Array.isArray(content)) return null;
  const parts = content.map((each) => {
    if (typeof each === "string") return each;
    if (typeof each !== "object" || each === null || Array.isArray(each)) return "";
    return typeof each["text"] === "string" ? each["text"] : `[${String(each["type"] ?? "part")}]`;
  });
  return parts.join("\n");
}

/** One line of what there is to read, for a list: of the longest text, since short ones are names of groups and the like. */
export function firstLine(cells: Cell[] | null | undefined): string {
  const texts = (cells ?? []).filter((cell) => cell.kind === "text" && !cell.name.startsWith("_")).map((cell) => String(cell.value ?? ""));
  const longest = texts.sort((a, b) => b.length - a.length)[0] ?? "";
  if (longest.trim() !== "") return oneLine(longest);
  for (const cell of cells ?? []) {
    const turns = cell.kind === "json" ? conversation(cell.value) : null;
    if (turns !== null) return oneLine(turns.at(-1)?.text ?? "");
    if (cell.kind === "json" && cell.value !== null) return oneLine(JSON.stringify(cell.value));
    if (cell.kind === "bytes") return `[${cell.mediaType ?? "bytes"}]`;
  }
  return "";
}

function oneLine(text: string): string {
  const flat = text.replace(/\s+/g, " ").trim();
  return flat.length > 200 ? `${flat.slice(0, 200)}…` : flat;
}

/** A value in few letters: four digits of a number that is not whole. The sample itself shows all of them. */
function brief(value: unknown): string {
  if (typeof value === "number" && !Number.isInteger(value)) return String(Number(value.toPrecision(4)));
  return typeof value === "string" ? value : JSON.stringify(value);
}

/** The values of scores as short words, such as `correct: true`. */
export function scoreWords(sample: Sample): { name: string; value: string }[] {
  return sample.scores.flatMap(({ row }) =>
    row
      .filter((cell) => !cell.name.startsWith("_") && cell.kind !== "bytes")
      .map((cell) => ({ name: cell.name, value: brief(cell.value) })),
  );
}

/** Why there is no answer, in one line. */
export function errorWords(error: Cell[]): string {
  const known = error.filter((cell) => cell.name === "error" || cell.name === "status" || cell.name === "message");
  const words = known.map((cell) => cell.value).filter((value) => value !== null && value !== "");
  return oneLine(words.map((value) => (typeof value === "string" ? value : JSON.stringify(value))).join(": ")) || "error";
}

export function keyOf(sample: Sample): string {
  return `${sample.index}.${sample.number ?? sample.replication}`;
}
