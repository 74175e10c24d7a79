import { untrack } from "svelte";
import { pause, Refusal } from "./api";
import { EventParser } from "./events";
import { session } from "./session.svelte";
import type { Change } from "./types";

/** Silence after which the connection counts as lost: two heartbeats and a bit (docs/console-data.md). */
const SILENCE_MS = 40_000;
const FIRST_PAUSE_MS = 1000;
const LONGEST_PAUSE_MS = 30_000;

type Listener = (change: Change) => void;

/** The one stream of changes of this page. After it was lost, it continues where it was; if that is not possible, readers look again. */
class Live {
  /** `off`: this server has no stream, or nobody is signed in. */
  state = $state<"off" | "connecting" | "on" | "lost">("off");
  lostSince = $state<Date | null>(null);
  #listeners = new Set<Listener>();
  #reloads = new Set<() => void>();
  #since: string | null = null;
  #stop: AbortController | null = null;

  /** Be told of each change. `again`: called when changes may have been missed. Returns how to stop. */
  watch(listener: Listener, again: () => void): () => void {
    this.#listeners.add(listener);
    this.#reloads.add(again);
    return () => {
      this.#listeners.delete(listener);
      this.#reloads.delete(again);
    };
  }

  start(): void {
    this.stop();
    const stop = new AbortController();
    this.#stop = stop;
    untrack(() => void this.#run(stop.signal));
  }

  stop(): void {
    this.#stop?.abort();
    this.#stop = null;
    this.#since = null;
    this.state = "off";
    this.lostSince = null;
  }

  async #run(signal: AbortSignal): Promise<void> {
    let wait = FIRST_PAUSE_MS;
    this.state = "connecting";
    while (!signal.aborted) {
      const wasLost = this.state === "lost";
      try {
        await this.#read(signal, wasLost, () => {
          wait = FIRST_PAUSE_MS;
        });
      } catch (error) {
        if (signal.aborted) return;
        if (error instanceof Refusal && error.status === 410) {
          this.#since = null;
          this.#look();
          continue;
        }
        if (error instanceof Refusal && (error.status === 404 || error.status === 403 || error.status === 401)) {
          this.state = "off";
          return;
        }
      }
      if (signal.aborted) return;
      this.lostSince ??= new Date();
      this.state = "lost";
      const online = new AbortController(); // the browser knows when it is worth a try
      addEventListener("online", () => online.abort(), { once: true, signal: online.signal });
      await pause(wait * (0.7 + 0.6 * Math.random()), AbortSignal.any([signal, online.signal])).catch(() => undefined);
      online.abort();
      wait = Math.min(2 * wait, LONGEST_PAUSE_MS);
    }
  }

  async #read(signal: AbortSignal, wasLost: boolean, opened: () => void): Promise<void> {
    const silent = new AbortController();
    const both = AbortSignal.any([signal, silent.signal]);
    let timer = setTimeout(() => silent.abort(), SILENCE_MS);
    addEventListener("offline", () => silent.abort(), { signal: both });
    const heard = (): void => {
      clearTimeout(timer);
      timer = setTimeout(() => silent.abort(), SILENCE_MS);
    };
    try {
      const resumed = this.#since !== null;
      const response = await session.api.response("changes", { query: { since: this.#since }, signal: both });
      if (response.body === null) return;
      this.state = "on";
      this.lostSince = null;
      opened();
      if (wasLost && !resumed) this.#look();
      const parser = new EventParser();
      const decoder = new TextDecoder();
      const reader = response.body.getReader();
      for (;;) {
        const { done, value } = await reader.read();
        if (done) return;
        heard();
        for (const each of parser.feed(decoder.decode(value, { stream: true }))) {
          if (each.id !== "") this.#since = each.id;
          if (each.event === "change") {
            const change = JSON.parse(each.data) as Change;
            for (const listener of this.#listeners) listener(change);
          }
          if (each.event === "end") return;
        }
      }
    } finally {
      clearTimeout(timer);
      silent.abort();
    }
  }

  #look(): void {
    for (const again of this.#reloads) again();
  }
}

export const live = new Live();
