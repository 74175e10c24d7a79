import { expect, test } from "vitest";
import { allows, allowsSome } from "../src/lib/grants";

const own = [{ resources: ["*"], functions: ["*"], accounts: ["mine"], entities: [] }];
const one = [{ resources: ["datasets"], functions: ["get"], accounts: [], entities: ["d1"] }];

test.each([
  [own, "datasets", "edit", "mine", "d1", true],
  [own, "datasets", "edit", "yours", "d1", false],
  [one, "datasets", "get", "yours", "d1", true],
  [one, "datasets", "get", "yours", "d2", false],
  [one, "datasets", "edit", "yours", "d1", false],
  [one, "models", "get", "yours", "d1", false],
])("a grant covers resource, function, and account or entity (%#)", (grants, resource, fn, account, entity, want) => {
  expect(allows(grants, resource, fn, account, entity)).toBe(want);
});

test("a grant with neither accounts nor entities grants nothing", () => {
  expect(allowsSome([{ resources: ["*"], functions: ["*"], accounts: [], entities: [] }], "datasets", "get")).toBe(false);
  expect(allowsSome(one, "datasets", "get")).toBe(true);
});
