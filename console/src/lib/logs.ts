/** The lines of a log as they are shown. Pure. */
import type { LogLine } from "./types";

/** What a terminal would show of a line: what a carriage return was followed by replaces what was before it; no colours. */
export function collapsed(message: string): string {
   
  const plain = message.replace(/\x1b\[[0-9;?]*[ -/]*[@-~]/g, "").replace(/[\r\n]+$/, "");
  const last = plain.slice(plain.lastIndexOf("\r") + 1);
   
  return last.replace(/[\x00-\x08\x0b-\x1f\x7f]/g, "\u25a1");
}

/** `lines` and what came after them, without what is in both; at most `limit`, the last ones. */
export function joined(lines: LogLine[], more: LogLine[], limit: number): LogLine[] {
  const last = lines.at(-1)?.timestamp ?? "";
  const known = new Set(lines.filter((each) => each.timestamp === last).map((each) => each.message));
  const fresh = more.filter((each) => each.timestamp > last || (each.timestamp === last && !known.has(each.message)));
  const all = fresh.length === 0 ? lines : [...lines, ...fresh];
  return all.length > limit ? all.slice(-limit) : all;
}
