/** How values are written for people. Pure. */

export type Tone = "good" | "bad" | "busy" | "waiting" | "ended";

const TONES: Record<string, Tone> = {
  Ready: "good", Complete: "good", Approved: "good", Active: "good",
  Failed: "bad", Error: "bad", Denied: "bad", EntryDenied: "bad",
  Admitted: "busy",
  Created: "waiting", Schedulable: "waiting", WaitingForUpload: "waiting", WaitingForApproval: "waiting",
};

export const RUNNING = ["Admitted"];
export const WAITING = ["Created", "Schedulable", "WaitingForUpload", "WaitingForApproval"];
export const FAILED = ["Failed", "Error", "Denied"];
export const DONE = ["Complete", "Ready", "Approved"];
export const STATUSES = [
  "Created", "WaitingForUpload", "Schedulable", "Admitted", "Ready", "Complete", "Failed", "Error", "Terminated", "Deleted",
];
const ENDED = new Set(["Ready", "Complete", "Approved", "Failed", "Error", "Denied", "Terminated", "Deleted"]);

export function tone(status: string): Tone {
  return TONES[status] ?? "ended";
}

/** `WaitingForUpload` as `Waiting for upload`; words of an account stay as they are. */
export function spaced(word: string): string {
  const parts = word.replace(/[_-]+/g, " ").split(/(?<=[a-z0-9])(?=[A-Z])/).join(" ");
  return parts === "" ? "" : parts[0]?.toUpperCase() + parts.slice(1).replace(/\b[A-Z](?=[a-z])/g, (each) => each.toLowerCase());
}

/** With a capital letter, as a sentence begins. */
export function sentence(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}

export function isTerminal(status: string): boolean {
  return ENDED.has(status);
}

export function shortId(id: string): string {
  return id.length > 12 ? id.slice(0, 8) : id;
}

export function isId(text: unknown): text is string {
  return typeof text === "string" && /^[0-9a-f]{32}$/.test(text);
}

const STEPS: [number, Intl.RelativeTimeFormatUnit][] = [[60, "second"], [60, "minute"], [24, "hour"], [30, "day"], [12, "month"], [1e9, "year"]];
const RELATIVE = new Intl.RelativeTimeFormat("en", { numeric: "always", style: "short" });

/** How long before or after `now` it is, such as `5 min. ago`. */
export function relative(time: Date, now: number): string {
  let amount = (time.getTime() - now) / 1000;
  if (Math.abs(amount) < 5) return "just now";
  for (const [size, unit] of STEPS) {
    if (Math.abs(amount) < size) return RELATIVE.format(Math.trunc(amount), unit);
    amount /= size;
  }
  return "";
}

/** The exact time in the reader's zone, with its name. */
export function exact(time: Date): string {
  return time.toLocaleString("en-GB", {
    weekday: "short", year: "numeric", month: "short", day: "numeric", hour: "2-digit", minute: "2-digit", second: "2-digit",
    fractionalSecondDigits: 3, timeZoneName: "longOffset",
  });
}

/** The time of a line of a log in the reader's zone. */
export function clockTime(time: Date): string {
  return time.toLocaleTimeString("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });
}

/** A time as the API writes it; null if the text is none. */
export function timeOf(text: string): Date | null {
  if (!/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)$/.test(text)) return null;
  const time = new Date(text);
  return Number.isNaN(time.getTime()) ? null : time;
}

const WHOLE = new Intl.NumberFormat("en");
const BROKEN = new Intl.NumberFormat("en", { maximumSignificantDigits: 6 });

/** Six digits of a number that is not whole, wherever its point is: a small one is not 0. */
export function number(value: number): string {
  return (Number.isInteger(value) ? WHOLE : BROKEN).format(value).replaceAll(",", "\u202f");
}

const UNITS = ["B", "KiB", "MiB", "GiB", "TiB"];

export function bytes(value: number): string {
  let size = value;
  let unit = 0;
  for (; size >= 1024 && unit < UNITS.length - 1; unit += 1) size /= 1024;
  return `${unit === 0 ? size : size.toFixed(1)} ${UNITS[unit]}`;
}

/** Seconds as `1 min 20 s`. */
export function duration(seconds: number): string {
  if (!Number.isFinite(seconds)) return "";
  if (seconds < 60) return `${Math.round(seconds)} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${Math.round(seconds % 60)} s`;
  return `${Math.floor(seconds / 3600)} h ${Math.round((seconds % 3600) / 60)} min`;
}
