/** The present moment, for times that are shown as `5 min. ago`. One timer for all of them. */
class Now {
  ms = $state(Date.now());

  constructor() {
    setInterval(() => {
      if (document.visibilityState === "visible") this.ms = Date.now();
    }, 15_000);
  }
}

export const now = new Now();
