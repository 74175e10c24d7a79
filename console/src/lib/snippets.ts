/** A request as a command and as a program. Pure. The token is in the environment, never in the text. */
import type { Json } from "./types";

export const TOKEN = "DYFF_API_TOKEN";

/** `url`: of the API's route. */
export function curl(url: string, body: Json): string {
  const data = JSON.stringify(body, null, 2);
  return [
    `curl --fail-with-body -X POST '${url.replaceAll("'", "%27")}' \\`,
    `  -H "Authorization: Bearer $${TOKEN}" -H 'Content-Type: application/json' \\`,
    "  --data-binary @- <<'JSON'",
    data,
    "JSON",
  ].join("\n");
}

/** `endpoint`: of the API, which ends in `/v0`. `plural`: of the kind, which is the name of its group in the client. */
export function python(endpoint: string, plural: string, body: Json): string {
  return [
    "from dyff.sdk import Client",
    "",
    `# The token is in the environment variable ${TOKEN}.`,
    `with Client(endpoint=${JSON.stringify(endpoint)}) as client:`,
    `    created = client.${plural}.create(`,
    `        ${literal(body, 2)}`,
    "    )",
    "    print(created)",
  ].join("\n");
}

/** JSON as Python writes it. A JSON string is one of Python's, too. */
export function literal(value: Json, depth = 0): string {
  if (value === null) return "None";
  if (typeof value === "boolean") return value ? "True" : "False";
  if (typeof value !== "object") return JSON.stringify(value);
  const inner = "    ".repeat(depth + 1);
  const lines = Array.isArray(value)
    ? value.map((each) => `${inner}${literal(each, depth + 1)},`)
    : Object.entries(value).map(([name, each]) => `${inner}${JSON.stringify(name)}: ${literal(each, depth + 1)},`);
  const [open, close] = Array.isArray(value) ? ["[", "]"] : ["{", "}"];
  return lines.length === 0 ? `${open}${close}` : `${open}\n${lines.join("\n")}\n${"    ".repeat(depth)}${close}`;
}
