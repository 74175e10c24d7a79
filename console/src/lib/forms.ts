/** A form for the body of a request, from its JSON schema alone. Pure. */
import { kindOf } from "./entities";
import type { Json, JsonObject, Kind } from "./types";

export type Schemas = Record<string, JsonObject>;

/** One way in which a value can be written. `text` has all that is entered as a line; `json` what has no form of its own. */
export type Shape = "object" | "list" | "text" | "number" | "choice" | "truth" | "json";

export interface Alternative {
  label: string;
  shape: Shape;
  schema: JsonObject;
}

/** What a field takes. `choices`: more than one if it is a union. `optional`: whether it can be null, which is as if it were absent. */
export interface Field {
  choices: Alternative[];
  optional: boolean;
  hint: string;
  fallback: Json | undefined;
}

export function resolved(schema: JsonObject, schemas: Schemas): JsonObject {
  const reference = schema["$ref"];
  if (typeof reference !== "string") return schema;
  return { ...schemas[reference.split("/").pop() ?? ""], ...without(schema, "$ref") };
}

function without(schema: JsonObject, key: string): JsonObject {
  return Object.fromEntries(Object.entries(schema).filter(([name]) => name !== key));
}

/** All that a form has to know of the schema of one value. */
export function fieldOf(given: JsonObject, schemas: Schemas): Field {
  const schema = resolved(given, schemas);
  const parts = ((schema["anyOf"] ?? schema["oneOf"]) as JsonObject[] | undefined) ?? [schema];
  const all = parts.flatMap((each) => flat(each, schemas));
  const some = all.filter((each) => each["type"] !== "null");
  const choices = some.map((each) => ({ label: labelOf(each), shape: shapeOf(each), schema: each }));
  const hint = [schema, ...(some.length === 1 ? some : [])].map((each) => each["description"]).find((each) => typeof each === "string");
  return { choices, optional: some.length < all.length, hint: typeof hint === "string" ? hint : "", fallback: schema["default"] };
}

function flat(given: JsonObject, schemas: Schemas): JsonObject[] {
  const schema = resolved(given, schemas);
  const parts = (schema["anyOf"] ?? schema["oneOf"]) as JsonObject[] | undefined;
  return parts === undefined ? [schema] : parts.flatMap((each) => flat(each, schemas));
}

function shapeOf(schema: JsonObject): Shape {
  if (schema["enum"] !== undefined || schema["const"] !== undefined) return "choice";
  switch (schema["type"]) {
    case "object": return schema["properties"] === undefined ? "json" : "object";
    case "array": return schema["items"] === undefined ? "json" : "list";
    case "string": return "text";
    case "integer": case "number": return "number";
    case "boolean": return "truth";
    default: return schema["properties"] === undefined ? "json" : "object";
  }
}

/** The values of an enum. */
export function valuesOf(schema: JsonObject): Json[] {
  return schema["const"] !== undefined ? [schema["const"]] : ((schema["enum"] as Json[] | undefined) ?? []);
}

/** What tells an alternative from others: the value that its `kind` must have, or else its type. */
function labelOf(schema: JsonObject): string {
  for (const part of Object.values((schema["properties"] ?? {}) as Schemas)) {
    const values = valuesOf(part);
    if (values.length === 1 && part["default"] === undefined) return String(values[0]);
  }
  const names = Object.keys((schema["properties"] ?? {}) as Schemas);
  if (names.length > 0) return names.slice(0, 3).join(", ");
  const type = schema["type"];
  return typeof type === "string" ? type : "any value";
}

/** The properties of an object in the order of the form: what must be there first. Of `schemaVersion` there is nothing to choose. */
export function propertiesOf(schema: JsonObject): [string, JsonObject][] {
  const required = requiredOf(schema);
  const found = Object.entries((schema["properties"] ?? {}) as Schemas).filter(([name, part]) => {
    return required.has(name) || valuesOf(part).length !== 1 || part["default"] === undefined;
  });
  return [...found.filter(([name]) => required.has(name)), ...found.filter(([name]) => !required.has(name))];
}

export function requiredOf(schema: JsonObject): Set<string> {
  return new Set((schema["required"] as string[] | undefined) ?? []);
}

/** What a form begins with: the fields that must be there, empty, and single choices as they must be. */
export function blank(alternative: Alternative, schemas: Schemas): Json {
  const { schema, shape } = alternative;
  if (shape === "object") {
    const required = requiredOf(schema);
    const begun: JsonObject = {};
    for (const [name, part] of propertiesOf(schema)) {
      const first = fieldOf(part, schemas).choices[0];
      if (required.has(name) && first !== undefined) begun[name] = blank(first, schemas);
    }
    return begun;
  }
  if (shape === "list") return [];
  if (shape === "choice") return valuesOf(schema)[0] ?? null;
  if (shape === "number") return typeof schema["minimum"] === "number" ? schema["minimum"] : 0;
  if (shape === "truth") return false;
  return shape === "text" ? "" : {};
}

/** The alternative that a value is written in; the first one if none fits. */
export function chosen(value: Json, choices: Alternative[]): number {
  const fitting = choices.findIndex((each) => fits(value, each));
  return fitting < 0 ? 0 : fitting;
}

function fits(value: Json, { schema, shape }: Alternative): boolean {
  switch (shape) {
    case "choice": return valuesOf(schema).includes(value);
    case "list": return Array.isArray(value);
    case "text": return typeof value === "string";
    case "number": return typeof value === "number";
    case "truth": return typeof value === "boolean";
    case "json": return schema["type"] === undefined || (typeof value === "object" && value !== null && !Array.isArray(value));
    case "object": break;
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) return false;
  const parts = (schema["properties"] ?? {}) as Schemas;
  const known = Object.entries(value).every(([name, each]) => {
    const part = parts[name];
    return part !== undefined && (valuesOf(part).length === 0 || valuesOf(part).includes(each));
  });
  return known && [...requiredOf(schema)].every((name) => name in value);
}

/** The value with another one at a path; undefined removes what is there. */
export function put(value: Json, path: (string | number)[], next: Json | undefined): Json {
  const [step, ...rest] = path;
  if (step === undefined) return next ?? null;
  if (Array.isArray(value)) {
    const index = Number(step);
    if (rest.length === 0 && next === undefined) return value.filter((_, n) => n !== index);
    const list = [...value];
    list[index] = put(value[index] ?? null, rest, next);
    return list;
  }
  const object = typeof value === "object" && value !== null ? value : {};
  if (rest.length === 0 && next === undefined) return without(object, String(step));
  return { ...object, [String(step)]: put(object[String(step)] ?? null, rest, next) };
}

/** What the server said about the value at a path. */
export function saidAt(problems: { loc: string; msg: string }[], path: (string | number)[]): string[] {
  const place = path.join(".");
  return problems.filter((each) => place !== "" && each.loc === place).map((each) => each.msg);
}

/** Whether a form with this value has a field at the place that the server names, such as `client.batchSize`. */
export function shows(place: string, value: Json, schema: JsonObject, schemas: Schemas): boolean {
  let part: JsonObject | undefined = schema;
  let found: Json | undefined = value;
  for (const step of place.split(".")) {
    if (part === undefined || typeof found !== "object" || found === null) return false;
    part = below(part, step, schemas);
    found = (found as JsonObject)[step];
  }
  return part !== undefined;
}

function below(schema: JsonObject, step: string, schemas: Schemas): JsonObject | undefined {
  for (const { schema: each } of fieldOf(schema, schemas).choices) {
    const part = ((each["properties"] ?? {}) as Schemas)[step] ?? (/^\d+$/.test(step) ? (each["items"] as JsonObject | undefined) : undefined);
    if (part !== undefined) return part;
  }
  return undefined;
}

/** The kind of which a field names an entity by its ID: `dataset`, `inferenceService`, `inferenceSessionReference`, `modules`. */
export function refersTo(name: string, kinds: Kind[]): Kind | undefined {
  return kindOf(name, kinds) ?? kindOf(name.replace(/Reference$/, ""), kinds) ?? kinds.find((each) => each.plural === name);
}
