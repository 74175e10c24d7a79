/** What a list asks for, as it is in the place, and as the API takes it. Pure. */
import type { Query } from "./api";
import type { Kind } from "./types";
import { listed } from "./entities";
import { DONE, FAILED, RUNNING, WAITING } from "./words";

export const PAGE = 50;

/** Groups of statuses that can be asked for with one word. */
export const GROUPS: Record<string, string[]> = { running: RUNNING, waiting: WAITING, failed: FAILED, done: DONE };

const LABEL = /^([^=\s]+)=(\S*)$/;

/** The labels of a text such as `team=red, purpose=test`.
 * @throws Error naming the part that is none. */
export function labelsOf(text: string): Record<string, string> {
  const found: Record<string, string> = {};
  for (const part of text.split(",").map((each) => each.trim()).filter(Boolean)) {
    const match = LABEL.exec(part);
    if (match?.[1] === undefined) throw new Error(`“${part}” is no label: write key=value`);
    found[match[1]] = match[2] ?? "";
  }
  return found;
}

/** The parameters of the API's query. One more than a page is asked for, so that it is known whether there is a next one.
 * @throws Error if the labels are wrong. */
export function asked(kind: Kind, query: Record<string, string>, kinds: Kind[]): Query {
  const by = query["by"] ?? "creationTime";
  const found: Query = { limit: PAGE + 1, orderBy: by, order: query["order"] ?? "descending", fields: listed(kind, kinds, by) };
  for (const { name } of kind.filters) {
    if (name !== "status" && query[name] !== undefined) found[name] = query[name];
  }
  const status = query["status"];
  if (status !== undefined) {
    const group = GROUPS[status];
    if (group === undefined) found["status"] = status;
    else found["query"] = JSON.stringify({ status: group });
  }
  if (query["labels"] !== undefined) found["labels"] = JSON.stringify(labelsOf(query["labels"]));
  if (query["after"] !== undefined) found["after"] = query["after"];
  return found;
}

/** Whether anything is asked for at all. */
export function isFiltered(kind: Kind, query: Record<string, string>): boolean {
  return query["labels"] !== undefined || kind.filters.some((each) => query[each.name] !== undefined);
}
