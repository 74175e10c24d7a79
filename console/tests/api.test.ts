import { expect, test } from "vitest";
import { Refusal, saying } from "../src/lib/api";

test.each([
  [new Refusal(404, "there is no Evaluation with the ID 0"), "There is no Evaluation with the ID 0. It may have been removed, or its ID is wrong."],
  [new Refusal(0, "No answer from the server."), "No answer from the server. Look again when the bar above says Live."],
  [new Refusal(422, "name: a text is expected", [{ loc: "name", msg: "a text is expected" }]), "name: a text is expected"],
  [new Error("it broke"), "It broke"],
])("what failed is a sentence, and what to do another one (%#)", (error, want) => {
  expect(saying(error)).toBe(want);
});
