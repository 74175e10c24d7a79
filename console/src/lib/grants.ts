import type { Grant } from "./types";

/** Whether a grant covers the function on something that belongs to `account` and is `entity`: as `dyff/accounts/grants.py` decides. */
export function allows(grants: Grant[], resource: string, fn: string, account?: string, entity?: string): boolean {
  return grants.some(
    (each) =>
      covers(each.resources, resource) &&
      covers(each.functions, fn) &&
      (covers(each.accounts, account) || covers(each.entities, entity)),
  );
}

/** Whether the function is granted on anything of the resource at all. */
export function allowsSome(grants: Grant[], resource: string, fn: string): boolean {
  return grants.some(
    (each) => covers(each.resources, resource) && covers(each.functions, fn) && each.accounts.length + each.entities.length > 0,
  );
}

function covers(granted: string[], wanted: string | undefined): boolean {
  return granted.includes("*") || (wanted !== undefined && granted.includes(wanted));
}
