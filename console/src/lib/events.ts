/** Server-sent events from the bytes of a stream, as the WHATWG says; `retry` is ignored. Pure. */
export interface StreamEvent {
  id: string;
  event: string;
  data: string;
}

export class EventParser {
  #rest = "";
  #id = "";
  #event = "";
  #data: string[] = [];

  /** The events that are complete with this piece of text. */
  feed(text: string): StreamEvent[] {
    const found: StreamEvent[] = [];
    const lines = (this.#rest + text).split(/\r?\n/);
    this.#rest = lines.pop() ?? "";
    for (const line of lines) {
      if (line === "") {
        if (this.#data.length > 0 || this.#event !== "") {
          found.push({ id: this.#id, event: this.#event || "message", data: this.#data.join("\n") });
        }
        this.#event = "";
        this.#data = [];
        continue;
      }
      const [field = "", value = ""] = line.split(/:(.*)/s);
      const given = value.startsWith(" ") ? value.slice(1) : value;
      if (field === "id") this.#id = given;
      else if (field === "event") this.#event = given;
      else if (field === "data") this.#data.push(given);
    }
    return found;
  }
}
