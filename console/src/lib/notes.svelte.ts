/** Short notes about what was done, which go by themselves, and what failed, which stays until it is closed. */
export interface Note {
  id: number;
  text: string;
  bad: boolean;
}

const MAX_NOTES = 4;
const LIFE_MS = 6000;

class Notes {
  all = $state<Note[]>([]);
  #next = 0;

  good(text: string): void {
    const id = this.#add(text, false);
    setTimeout(() => this.close(id), LIFE_MS);
  }

  bad(text: string): void {
    this.#add(text, true);
  }

  close(id: number): void {
    this.all = this.all.filter((each) => each.id !== id);
  }

  #add(text: string, bad: boolean): number {
    this.#next += 1;
    this.all = [...this.all, { id: this.#next, text, bad }].slice(-MAX_NOTES);
    return this.#next;
  }
}

export const notes = new Notes();
