/** What can be said of an entity of any kind, from its kind's description alone. Pure. */
import type { Entity, Json, Kind } from "./types";
import { isId, shortId } from "./words";

const COMMON = new Set(["id", "account", "status", "reason", "name"]);
/** Fields that the page of an entity shows in their own places. */
const APART = new Set([
  "id", "kind", "account", "name", "status", "reason", "message", "creationTime", "lastTransitionTime", "labels", "annotations",
  "metadata", "schemaVersion", "dependencies", "scores",
  "data", // what a safety case carries of its method and system, encoded: the JSON has it
]);

/** Its name for people: a title, a name, or else the names of what it is about; the beginning of its ID if there is none of these. */
export function title(entity: Entity, kind?: Kind): string {
  const given = [entity.metadata?.documentation?.["title"], entity["name"]];
  const about = kind?.filters.filter((each) => each.name.endsWith("Name")).map((each) => at(entity, each.path)) ?? [];
  return [...given, ...about].find((each): each is string => typeof each === "string" && each.trim() !== "") ?? shortId(entity.id);
}

export interface Column {
  name: string;
  path: string[];
  /** Where the value leads, if it is about an entity of another kind. */
  link?: { plural: string; path: string[] };
}

/** The columns of a list besides name, status and time: what one can ask for, names before IDs. At most three.
 * Not what the entities of a kind without names are called by (`title`): that is in the list already. */
export function columns(kind: Kind, kinds: Kind[]): Column[] {
  const byName = new Map(kind.filters.map((each) => [each.name, each.path]));
  const called = byName.has("name") ? undefined : kind.filters.find((each) => each.name.endsWith("Name"))?.name;
  const found: Column[] = [];
  for (const { name, path } of kind.filters) {
    if (COMMON.has(name) || name.endsWith("Name") || `${name}Name` === called) continue;
    const refers = kindOf(name, kinds);
    const named = byName.get(`${name}Name`);
    const column: Column = { name, path: named ?? path };
    if (refers !== undefined) column.link = { plural: refers.plural, path };
    found.push(column);
  }
  return found.slice(0, 3);
}

/** The fields that a list of a kind shows, as the API takes them: what a name is made of, the status, the times, labels, and its columns. */
export function listed(kind: Kind, kinds: Kind[], by = "creationTime"): string {
  const named = kind.filters.filter((each) => each.name === "name" || each.name.endsWith("Name")).map((each) => each.path);
  const shown = columns(kind, kinds).flatMap((each) => [each.path, ...(each.link === undefined ? [] : [each.link.path])]);
  const paths = [...named, ...shown].map((each) => each.join("."));
  return [...new Set(["status", "reason", "creationTime", "labels", "metadata.documentation.title", by, ...paths])].join(",");
}

/** The kind that a field of this name refers to: `inferenceService` is about an `InferenceService`. */
export function kindOf(field: string, kinds: Kind[]): Kind | undefined {
  const name = field.charAt(0).toUpperCase() + field.slice(1);
  return kinds.find((each) => each.name === name || `${each.name}Reference` === name);
}

export function at(value: unknown, path: string[]): unknown {
  let found = value;
  for (const step of path) {
    if (typeof found !== "object" || found === null) return undefined;
    found = (found as Record<string, unknown>)[step];
  }
  return found;
}

/** The value in a cell of a list. */
export function cell(value: unknown): string {
  if (value === undefined || value === null) return "";
  if (isId(value)) return shortId(value);
  return typeof value === "object" ? "…" : String(value);
}

/** The fields that only this kind has, for the page of an entity: short ones first. */
export function ownFields(entity: Entity): [string, Json][] {
  const found = Object.entries(entity).filter(([name, value]) => !APART.has(name) && !isEmpty(value)) as [string, Json][];
  const isPlain = ([, value]: [string, Json]): boolean => typeof value !== "object";
  return [...found.filter(isPlain), ...found.filter((each) => !isPlain(each))];
}

export function isEmpty(value: unknown): boolean {
  if (value === null || value === undefined || value === "") return true;
  if (Array.isArray(value)) return value.length === 0;
  return typeof value === "object" && Object.keys(value).length === 0;
}

type Schema = { [key: string]: Json };

/** The body of a request that would create such an entity again: the fields that the request's schema has, references as IDs. */
export function requestOf(entity: Json, schema: Schema, schemas: Record<string, Schema>): Json {
  const found = resolved(schema, schemas);
  const choices = (found["anyOf"] ?? found["oneOf"]) as Schema[] | undefined;
  if (choices !== undefined) {
    const fitting = choices.map((each) => resolved(each, schemas)).find((each) => fits(entity, each));
    return fitting === undefined ? entity : requestOf(entity, fitting, schemas);
  }
  if (Array.isArray(entity)) {
    const items = (found["items"] ?? {}) as Schema;
    return entity.map((each) => requestOf(each, items, schemas));
  }
  if (typeof entity !== "object" || entity === null) return entity;
  if (found["type"] === "string" && typeof entity["id"] === "string") return entity["id"];
  const properties = found["properties"] as Record<string, Schema> | undefined;
  if (properties === undefined) return entity;
  const body: { [key: string]: Json } = {};
  for (const [name, part] of Object.entries(properties)) {
    const value = entity[name];
    if (value !== undefined && value !== null) body[name] = requestOf(value, part, schemas);
  }
  return body;
}

function resolved(schema: Schema, schemas: Record<string, Schema>): Schema {
  const reference = schema["$ref"];
  return typeof reference === "string" ? (schemas[reference.split("/").pop() ?? ""] ?? {}) : schema;
}

function fits(value: Json, schema: Schema): boolean {
  const type = schema["type"];
  if (type === undefined) return "properties" in schema ? typeof value === "object" : true;
  if (type === "null") return value === null;
  if (type === "array") return Array.isArray(value);
  if (type === "object") return typeof value === "object" && value !== null && !Array.isArray(value);
  if (type === "string") return typeof value === "string" || (typeof value === "object" && value !== null && "id" in value);
  if (type === "integer" || type === "number") return typeof value === "number";
  return typeof value === type;
}
