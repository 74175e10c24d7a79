/** Collects what comes in quick succession, and hands it over together: one request instead of many. */
export class Batch<T> {
  #waiting = new Set<T>();
  #timer: ReturnType<typeof setTimeout> | null = null;

  constructor(
    private readonly act: (items: T[]) => void,
    private readonly afterMs = 400,
    private readonly most = 100,
  ) {}

  add(item: T): void {
    if (this.#waiting.size < this.most) this.#waiting.add(item);
    this.#timer ??= setTimeout(() => {
      this.#timer = null;
      const items = [...this.#waiting];
      this.#waiting.clear();
      this.act(items);
    }, this.afterMs);
  }

  stop(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    this.#waiting.clear();
  }
}
