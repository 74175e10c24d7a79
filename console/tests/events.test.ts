import { expect, test } from "vitest";
import { EventParser } from "../src/lib/events";

const STREAM = 'id: E;0=1\nevent: open\ndata: {"heartbeatSeconds": 15}\n\n: a comment\nid: E;0=2\r\nevent: change\r\ndata: {"a":\r\ndata: 1}\r\n\r\nevent: heartbeat\ndata: {}\n\n';
const WANT = [
  { id: "E;0=1", event: "open", data: '{"heartbeatSeconds": 15}' },
  { id: "E;0=2", event: "change", data: '{"a":\n1}' },
  { id: "E;0=2", event: "heartbeat", data: "{}" },
];

test.each([1, 3, 7, 1000])("events are the same however the stream is cut (%i characters at a time)", (size) => {
  const parser = new EventParser();
  const found = [];
  for (let at = 0; at < STREAM.length; at += size) found.push(...parser.feed(STREAM.slice(at, at + size)));
  expect(found).toEqual(WANT);
});

test("an event that is not complete yet is none", () => {
  expect(new EventParser().feed("event: change\ndata: {}\n")).toEqual([]);
});
