// @vitest-environment happy-dom
import { type Component, flushSync, mount, unmount } from "svelte";
import { afterEach, expect, test } from "vitest";
import ComparedSystems from "../src/components/ComparedSystems.svelte";
import Labels from "../src/components/Labels.svelte";
import Scores from "../src/components/Scores.svelte";
import Status from "../src/components/Status.svelte";
import Value from "../src/components/Value.svelte";

const HOSTILE = '<img src=x onerror="alert(1)"><script>alert(2)</script>';
const mounted: ReturnType<typeof mount>[] = [];

function shown<P extends Record<string, unknown>>(component: Component<P>, props: P): HTMLElement {
  const target = document.createElement("div");
  document.body.append(target);
  mounted.push(mount(component, { target, props }));
  flushSync();
  return target;
}

afterEach(async () => {
  for (const each of mounted.splice(0)) await unmount(each);
  document.body.replaceChildren();
});

test.each([
  [Value, { value: HOSTILE }],
  [Value, { value: { [HOSTILE]: [HOSTILE, { a: HOSTILE }] } }],
  [Status, { status: "Failed", reason: HOSTILE }],
  [Scores, { scores: [{ name: "s", title: HOSTILE, summary: HOSTILE, quantity: 1, quantityString: HOSTILE, unit: HOSTILE }] }],
  [Labels, { entity: { labels: { [HOSTILE]: HOSTILE } }, plural: "datasets", editable: true, changed: () => undefined }],
])("what others wrote is text, never an element (%#)", (component, props) => {
  const target = shown(component as Component<Record<string, unknown>>, props);
  expect(target.querySelectorAll("img, script")).toHaveLength(0);
  expect(target.textContent).toContain("onerror");
});

test("a comparison draws an interval for each system and each pair, says ties, and names are text", () => {
  const uncertainty = { low: 0.4, high: 0.6, level: 0.95 };
  const outcomes = { items: 9, verdicts: 8, errors: 1, notScored: 0 };
  const systems = ["a", "b"].map((id) => ({ id, name: HOSTILE + id, quantity: 0.5, quantityString: "0.5", evaluation: null, uncertainty, outcomes }));
  const pair = {
    a: "a", b: "b", better: null, higher: null, difference: 0.01, estimate: { low: -0.1, high: 0.1, n: 9, clusters: null },
    test: { p: 0.5, pCorrected: 0.9, comparisons: 1, method: "t" }, detectable: 0.2, power: 0.8, notes: ["few pairs"],
  };
  const target = shown(ComparedSystems as unknown as Component<Record<string, unknown>>, { found: { score: "s", title: "Right", valence: "positive", unit: null, level: 0.95, systems, pairs: [pair] } });
  expect(target.querySelectorAll("img, script")).toHaveLength(0);
  expect(target.querySelectorAll("svg[aria-label]")).toHaveLength(3);
  expect(target.textContent).toContain("no difference shown");
  expect(target.textContent).toContain("a difference of 0.2 would have been found in 80 % of such studies");
  expect(target.querySelector(".result")?.textContent).not.toContain("better");
  expect(target.textContent).toContain("1 error, 0 not scored");
});

test("an entity that is embedded in another one is a link with its name", () => {
  const target = shown(Value, { value: { id: "0123456789abcdef0123456789abcdef", name: "mock", account: "a" }, name: "inferenceService" });
  expect(target.querySelector("a")?.textContent).toBe("mock");
  expect(target.querySelector("details")).not.toBeNull();
});

test("a time among the fields is shown as times are, a digest is whole, and names and numbers that are copied stay as they are", () => {
  const sha256 = "0123456789abcdef".repeat(4);
  const target = shown(Value, { value: { started: "2026-11-30T16:54:30.151+00:00", sha256, seed: 3716614095, packages: { "rpds-py": "1" }, bytes: 1234567 } });
  expect(target.querySelector("time")?.getAttribute("datetime")).toBe("2026-11-30T16:54:30.151+00:00");
  for (const text of [sha256, "3716614095", "rpds-py", "1\u202f234\u202f567"]) expect(target.textContent).toContain(text);
});

test("a status is told by a sign and a word, not by colour alone", () => {
  expect(shown(Status, { status: "Failed" }).textContent).toContain("✕");
});

test("a score shows its interval; without one, it says so", () => {
  const estimate = { low: 0.1, high: 0.3, level: 0.95, n: 400 };
  const target = shown(Scores, { scores: [
    { name: "a", quantity: 0.2, minimum: 0, maximum: 1, metadata: { estimate } }, { name: "b", quantity: 2 },
  ] });
  expect(target.textContent).toContain("95 % interval 0.1 to 0.3, 400 items");
  expect(target.textContent).toContain("no interval");
});
