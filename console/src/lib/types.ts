/** What the API answers, as far as the console uses it. `docs/api.md` and `/v0/openapi.json` describe all of it. */

export type Json = null | boolean | number | string | Json[] | { [key: string]: Json };
export type JsonObject = { [key: string]: Json };

export interface Grant {
  resources: string[];
  functions: string[];
  accounts: string[];
  entities: string[];
}

export interface Caller {
  subject: string;
  token: string;
  expires: string;
  grants: Grant[];
  account: string | null;
  name: string | null;
}

export interface Kind {
  name: string;
  plural: string;
  title: string;
  operations: string[];
  filters: { name: string; path: string[] }[];
  texts: string[];
  success: string;
  failure: string;
  runs: boolean;
  page: boolean;
  request: string | null;
  logs: "pods" | "stored" | null;
  edits: string[];
}

export interface Entity {
  id: string;
  kind: string;
  account: string;
  status: string;
  reason?: string | null;
  message?: string | null;
  creationTime: string;
  lastTransitionTime?: string | null;
  labels?: Record<string, string>;
  metadata?: { documentation?: Record<string, string | null> };
  [field: string]: unknown;
}

/** What there is of a group of statuses (docs/console-data.md). `rows`: what changed last, with the fields of a list. */
export interface Group {
  name: string;
  statuses: string[];
  counts: { plural: string; count: number; more: boolean }[];
  rows: Entity[];
}

export interface Progress {
  stage: string;
  done: number | null;
  total: number | null;
  rate: number | null;
  message?: string | null;
}

export interface LogLine {
  timestamp: string;
  message: string;
  labels?: Record<string, string>;
}

export interface Health {
  status: string;
  roles: Record<string, { phase: string; since: string; problem?: string | null }>;
  degraded?: { name: string; reason: string; since: string }[];
}

/** An event of the stream of changes (docs/console-data.md). */
export interface Change {
  kind: string;
  plural: string;
  id: string;
  account: string;
  name: string | null;
  status: string;
  reason: string | null;
  time: string;
  position: string;
}
