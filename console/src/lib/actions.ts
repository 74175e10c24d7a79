/** What can be done with an entity of any kind, as far as its kind has the operation and the token allows it. */
import type { Entity, Kind } from "./types";
import { isTerminal } from "./words";

export interface Action {
  name: "terminate" | "delete" | "publish" | "unpublish";
  verb: string;
  title: string;
  text: string;
}

export const ACCESS = "dyff.io/access";

export function actions(kind: Kind, entity: Entity, may: (fn: string) => boolean): Action[] {
  const found: Action[] = [];
  const has = (operation: string): boolean => kind.operations.includes(operation);
  const what = kind.name.replace(/(?<=[a-z])(?=[A-Z])/g, " ").toLowerCase();
  if (entity.status === "Deleted") return found;
  if (kind.page && has("label") && may("edit")) {
    if (entity.labels?.[ACCESS] === "public") {
      found.push({
        name: "unpublish", verb: "Make private", title: `Make this ${what} private?`,
        text: "Its page will no longer be there for those who have the link.",
      });
    } else if (entity.status === kind.success) {
      found.push({
        name: "publish", verb: "Publish", title: `Publish this ${what}?`,
        text: "Everybody who has the link can then see its page, without a token: its claim, its scores and what they rest on.",
      });
    }
  }
  if (has("terminate") && !isTerminal(entity.status) && may("terminate")) {
    found.push({
      name: "terminate", verb: "Terminate", title: `Terminate this ${what}?`,
      text: "It ends now and cannot be started again. What it has not stored is lost.",
    });
  }
  if (has("delete") && may("delete")) {
    found.push({
      name: "delete", verb: "Delete", title: `Delete this ${what}?`,
      text: "Its stored data is removed when nothing that runs uses it any more. This cannot be undone.",
    });
  }
  return found;
}
