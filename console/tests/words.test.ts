import { expect, test } from "vitest";
import { bytes, duration, number, relative, shortId, spaced, timeOf, tone } from "../src/lib/words";

test.each([
  ["WaitingForUpload", "Waiting for upload"], ["inferenceService", "Inference service"], ["first_party", "First party"],
  ["accounts-relay", "Accounts relay"], ["", ""],
])("%s is written as %s", (given, want) => {
  expect(spaced(given)).toBe(want);
});

test.each([[-3, "just now"], [-90, "1 min. ago"], [-7200, "2 hr. ago"], [3600, "in 1 hr."]])("%i s from now is %s", (seconds, want) => {
  expect(relative(new Date(1e12 + 1000 * seconds), 1e12)).toBe(want);
});

test("numbers have units and thin spaces", () => {
  expect([number(1234567), number(0.12345), number(0.0000123), number(-1234.56789), bytes(0), bytes(1536), duration(80), duration(7260)]).toEqual(
    ["1\u202f234\u202f567", "0.12345", "0.0000123", "-1\u202f234.57", "0 B", "1.5 KiB", "1 min 20 s", "2 h 1 min"],
  );
});

test.each([
  ["2026-11-30T16:54:30.151+00:00", 1796057670151], ["2026-11-30T16:54:30Z", 1796057670000], ["2026-11-30", undefined], ["2026-13-30T16:54:30Z", undefined],
  ["at 2026-11-30T16:54:30Z", undefined],
])("%s is a time only if it is one as a whole", (given, want) => {
  expect(timeOf(given)?.getTime()).toBe(want);
});

test("a status that a later release adds has a tone, and a name that is no ID stays whole", () => {
  expect(tone("Paused")).toBe("ended");
  expect([shortId("test"), shortId("0123456789abcdef")]).toEqual(["test", "01234567"]);
});
