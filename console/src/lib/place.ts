/** A place in the console is in the fragment of the URL: `#/evaluations?status=Failed`. So it can be reloaded, sent and gone back to, and
 * the server never sees it. */
export interface Place {
  path: string[];
  query: Record<string, string>;
}

export function parse(hash: string): Place {
  const [path = "", query = ""] = hash.replace(/^#\/?/, "").split(/\?(.*)/s);
  return {
    path: path.split("/").filter(Boolean).map(decoded),
    query: Object.fromEntries(new URLSearchParams(query)),
  };
}

export function href(path: string[], query: Record<string, string | null | undefined> = {}): string {
  const given = Object.entries(query).filter((each): each is [string, string] => each[1] != null && each[1] !== "");
  const search = new URLSearchParams(given).toString();
  return `#/${path.map(encodeURIComponent).join("/")}${search === "" ? "" : `?${search}`}`;
}

function decoded(step: string): string {
  try {
    return decodeURIComponent(step);
  } catch {
    return step;
  }
}
