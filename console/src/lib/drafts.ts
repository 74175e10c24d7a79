/** What was begun and not sent yet, in this tab only: a reload keeps it, and signing out forgets it. */
import type { Json } from "./types";

const PREFIX = "dyff-draft ";
/** A longer draft is not kept: a browser has some megabytes for all of them. */
const MOST = 500_000;

/** The draft with this name; null if there is none. */
export function read(name: string): Json | null {
  try {
    return JSON.parse(sessionStorage.getItem(PREFIX + name) ?? "null") as Json;
  } catch {
    return null;
  }
}

export function keep(name: string, body: Json): void {
  const text = JSON.stringify(body);
  try {
    if (text.length <= MOST) sessionStorage.setItem(PREFIX + name, text);
  } catch {
    // There is no room for it; the form still has it.
  }
}

export function forget(name: string): void {
  sessionStorage.removeItem(PREFIX + name);
}

export function forgetAll(): void {
  for (const name of Object.keys(sessionStorage).filter((each) => each.startsWith(PREFIX))) sessionStorage.removeItem(name);
}
