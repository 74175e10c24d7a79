import { href, parse, type Place } from "./place";

class Router {
  place = $state<Place>(parse(location.hash));

  constructor() {
    addEventListener("hashchange", () => {
      this.place = parse(location.hash);
    });
  }

  /** Go there. `replace`: the browser's Back leads past the present place. */
  go(path: string[], query: Record<string, string | null | undefined> = {}, replace = false): void {
    const to = href(path, query);
    if (replace) {
      history.replaceState(null, "", to);
      this.place = parse(to);
    } else {
      location.hash = to;
    }
  }

  /** Change some parameters of the present place. */
  set(changes: Record<string, string | null>, replace = false): void {
    this.go(this.place.path, { ...this.place.query, ...changes }, replace);
  }
}

export const router = new Router();
