import type { Json } from "./types";
import { sentence } from "./words";

/** What the server refused, or that it did not answer. `status`: 0 if there was no answer. */
export class Refusal extends Error {
  constructor(
    readonly status: number,
    message: string,
    readonly fields: { loc: string; msg: string }[] = [],
  ) {
    super(message);
  }

  /** What a reader can do about it, in a sentence. */
  get advice(): string {
    if (this.status === 0) return "Look again when the bar above says Live.";
    if (this.status === 403) return "Your token does not allow this. Sign in with one that does.";
    if (this.status === 404) return "It may have been removed, or its ID is wrong.";
    if (this.status === 503) return "Nothing was done. Try again in a moment.";
    return "";
  }
}

export type Query = Record<string, string | number | boolean | null | undefined>;

export interface Options {
  method?: "GET" | "POST" | "PUT" | "PATCH" | "DELETE";
  query?: Query;
  body?: Json;
  signal?: AbortSignal;
  /** A repetition with the same key happens once. */
  key?: string;
}

const RETRIES = 2;

/** Requests to the server that the console comes from. Every read sees every write that was made here before (`Dyff-Position`). */
export class Api {
  position: string | null = null;

  constructor(
    private readonly token: string | null,
    private readonly refused: (why: string) => void = () => undefined,
  ) {}

  async get<T>(path: string, query: Query = {}, signal?: AbortSignal): Promise<T> {
    return this.send<T>(path, signal === undefined ? { query } : { query, signal });
  }

  async send<T>(path: string, options: Options = {}): Promise<T> {
    const response = await this.response(path, options);
    return (await response.json()) as T;
  }

  /** The answer if it is a success. A read is repeated when the server says that it is worthwhile.
   * @throws Refusal */
  async response(path: string, options: Options = {}): Promise<Response> {
    for (let tries = 0; ; tries += 1) {
      const response = await this.once(path, options);
      if (response.ok) {
        this.position = response.headers.get("dyff-position") ?? this.position;
        return response;
      }
      const refusal = await refusalOf(response);
      if (refusal.status === 503 && tries < RETRIES && (options.method ?? "GET") === "GET") {
        await pause(1000 * Math.min(Number(response.headers.get("retry-after")) || 1, 5), options.signal);
        continue;
      }
      if (refusal.status === 401 && this.token !== null) this.refused(refusal.message);
      throw refusal;
    }
  }

  private async once(path: string, options: Options): Promise<Response> {
    const headers = new Headers();
    if (this.token !== null) headers.set("Authorization", `Bearer ${this.token}`);
    if (this.position !== null) headers.set("Dyff-Position", this.position);
    if (options.key !== undefined) headers.set("Idempotency-Key", options.key);
    if (options.body !== undefined) headers.set("Content-Type", "application/json");
    const init: RequestInit = { method: options.method ?? "GET", headers, cache: "no-store", credentials: "omit" };
    if (options.body !== undefined) init.body = JSON.stringify(options.body);
    if (options.signal !== undefined) init.signal = options.signal;
    try {
      return await fetch(address(path, options.query), init);
    } catch (error) {
      if (options.signal?.aborted) throw error;
      throw new Refusal(0, "No answer from the server.");
    }
  }
}

/** The URL of a path of the API, next to the page, whatever prefix that has. */
export function address(path: string, query: Query = {}): string {
  const url = new URL(path.startsWith("/") ? `.${path}` : `./v0/${path}`, document.baseURI);
  url.hash = "";
  for (const [name, value] of Object.entries(query)) {
    if (value !== null && value !== undefined && value !== "") url.searchParams.set(name, String(value));
  }
  return url.href;
}

async function refusalOf(response: Response): Promise<Refusal> {
  const detail: unknown = await response.json().then(
    (body: { detail?: unknown }) => body.detail,
    () => null,
  );
  if (Array.isArray(detail)) {
    const fields = (detail as { loc: (string | number)[]; msg: string }[]).map((each) => ({
      loc: each.loc.slice(1).join("."),
      msg: each.msg,
    }));
    return new Refusal(response.status, fields.map((each) => (each.loc ? `${each.loc}: ${each.msg}` : each.msg)).join("; "), fields);
  }
  return new Refusal(response.status, typeof detail === "string" ? detail : `The server answered ${response.status}.`);
}

/** Wait, or fail when the signal is aborted. */
export function pause(ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) {
      reject(new DOMException("aborted", "AbortError"));
      return;
    }
    const timer = setTimeout(resolve, ms);
    signal?.addEventListener("abort", () => {
      clearTimeout(timer);
      reject(new DOMException("aborted", "AbortError"));
    }, { once: true });
  });
}

/** A sentence about an error of any kind. */
export function saying(error: unknown): string {
  const message = error instanceof Error ? error.message : String(error);
  const said = error instanceof Refusal && error.fields.length > 0 ? message : sentence(message); // names of fields stay as they are
  if (!(error instanceof Refusal) || error.advice === "") return said;
  return `${said}${/[.!?]$/.test(said) ? "" : "."} ${error.advice}`;
}
