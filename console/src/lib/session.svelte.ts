import { sentence } from "./words";
import { Api, Refusal, saying } from "./api";
import { forgetAll } from "./drafts";
import { allows, allowsSome } from "./grants";
import type { Caller, Entity, Kind } from "./types";

const KEY = "dyff-token";
const BY_LINK = "dyff-token-by-link";

/** Who is signed in. The token is in this tab's session storage only: it is in no URL, and gone with the tab. */
class Session {
  api = $state.raw(new Api(null));
  caller = $state.raw<Caller | null>(null);
  kinds = $state.raw<Kind[]>([]);
  /** `starting` until it is known whether the token that is stored is still good. */
  state = $state<"starting" | "out" | "in">("starting");
  /** Why the reader is signed out, if it was not by choice. */
  notice = $state("");

  /** Sign in with the code in the URL's fragment, or with the token of this tab, if there is one. */
  async start(): Promise<void> {
    const code = /^#code=([\w-]+)$/.exec(location.hash)?.[1];
    if (code !== undefined) {
      location.replace("#/"); // the code is then neither in the address nor in the history
      await this.#attempt(async () => {
        const token = await new Api(null).send<string>("sign-in", { method: "POST", body: { code } });
        sessionStorage.setItem(BY_LINK, "yes");
        return token;
      });
      return;
    }
    const stored = sessionStorage.getItem(KEY);
    if (stored === null) {
      this.state = "out";
      return;
    }
    await this.#attempt(async () => stored);
  }

  /** Sign in with a token; `notice` says why if that is not possible. */
  async signIn(token: string): Promise<void> {
    sessionStorage.removeItem(BY_LINK);
    await this.#attempt(async () => token);
  }

  async #attempt(given: () => Promise<string>): Promise<void> {
    try {
      const token = await given();
      if (!/^[\x21-\x7e]+$/.test(token)) throw new Refusal(401, "This is not a token: it has characters that no token has.");
      const api = new Api(token, (why) => this.end(why));
      const [caller, kinds] = await Promise.all([api.get<Caller>("caller"), api.get<Kind[]>("kinds")]);
      sessionStorage.setItem(KEY, token);
      this.api = api;
      this.kinds = kinds;
      this.caller = caller;
      this.notice = "";
      this.state = "in";
    } catch (error) {
      // Without an answer nothing is known about the token, so it stays for the next load.
      if (error instanceof Refusal && error.status !== 0) sessionStorage.removeItem(KEY);
      this.notice = saying(error);
      this.state = "out";
    }
  }

  /** Sign out. A token that a link gave is of no more use to anybody, so it is revoked. */
  async signOut(): Promise<void> {
    const { api, caller } = this;
    const byLink = sessionStorage.getItem(BY_LINK) !== null;
    this.end("");
    if (byLink && caller?.account != null) {
      await api.send(`accounts/${caller.account}/tokens/${caller.token}`, { method: "DELETE" }).catch(() => undefined);
    }
  }

  /** Forget the token. `why`: for the reader; empty if it was a choice. */
  end(why: string): void {
    if (why === "") forgetAll();
    sessionStorage.removeItem(KEY);
    sessionStorage.removeItem(BY_LINK);
    this.api = new Api(null);
    this.caller = null;
    this.notice = sentence(why);
    this.state = "out";
  }

  kind(plural: string | undefined): Kind | undefined {
    return this.kinds.find((each) => each.plural === plural);
  }

  kindNamed(name: string | undefined): Kind | undefined {
    return this.kinds.find((each) => each.name === name);
  }

  /** Whether the token allows it. The server decides; this only hides what it would refuse. */
  may(fn: string, kind: Kind, entity?: Entity): boolean {
    const grants = this.caller?.grants ?? [];
    return entity === undefined ? allowsSome(grants, kind.plural, fn) : allows(grants, kind.plural, fn, entity.account, entity.id);
  }

  get isOperator(): boolean {
    return allows(this.caller?.grants ?? [], "*", "*", "*", "*");
  }
}

export const session = new Session();
