import { untrack } from "svelte";

/** Keys that do something while a page is open. `?` shows all of them. */
export interface Shortcut {
  /** As in `KeyboardEvent.key`; two with a space between them are pressed one after the other. */
  key: string;
  does: string;
  act: () => void;
}

const BETWEEN_MS = 1200;

class Keys {
  /** Groups of shortcuts, the newest last. */
  groups = $state<{ title: string; shortcuts: Shortcut[] }[]>([]);
  #before: { key: string; at: number } | null = null;

  constructor() {
    addEventListener("keydown", (event) => this.#press(event));
  }

  /** Add a group while a component is there; returns how to remove it. */
  add(title: string, shortcuts: Shortcut[]): () => void {
    const group = { title, shortcuts };
    // Who adds keys in an effect does not want to be run again when others do.
    untrack(() => (this.groups = [...this.groups, group]));
    return () => untrack(() => (this.groups = this.groups.filter((each) => each.title !== title)));
  }

  #press(event: KeyboardEvent): void {
    if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented || isTyping(event.target)) return;
    if (document.querySelector("dialog[open]") !== null) return;
    const recent = this.#before !== null && Date.now() - this.#before.at < BETWEEN_MS ? `${this.#before.key} ${event.key}` : null;
    const found = this.#find(recent) ?? this.#find(event.key);
    this.#before = found === undefined ? { key: event.key, at: Date.now() } : null;
    if (found !== undefined) {
      event.preventDefault();
      found.act();
    }
  }

  #find(key: string | null): Shortcut | undefined {
    if (key === null) return undefined;
    return [...this.groups].reverse().flatMap((each) => each.shortcuts).find((each) => each.key === key);
  }
}

function isTyping(target: EventTarget | null): boolean {
  return target instanceof HTMLElement && (target.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName));
}

export const keys = new Keys();
