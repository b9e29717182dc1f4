import assert from "node:assert/strict";
import { afterEach, test } from "node:test";
import "./support/page.mjs";
import { askAboutHosts } from "../../web/hosts.mjs";
import { api, settle } from "./support/comfyui.mjs";

const messages = [];
const dialogs = () => [...document.querySelectorAll("dialog")];
const click = (dialog, label) =>
  [...dialog.querySelectorAll("button")].find(({ textContent }) => textContent === label).click();
const answers = () => api.requests.flatMap(([, body]) => body ?? []);

api.reset({ "/rethink/hosts": [{ id: "early", host: "https://early.test" }] });
askAboutHosts(api, (message) => messages.push(message));
await settle();

afterEach(() => {
  for (const dialog of dialogs()) dialog.close();
  api.reset({ "/rethink/hosts": [] });
});

test("what was asked before the page was there is asked again", () => {
  assert.match(dialogs()[0].textContent, /https:\/\/early\.test/);
});

test("a question is asked once, and answered once", async () => {
  api.send("rethink.ask_host", { id: "1", host: "https://<b>a</b>.test" });
  api.send("rethink.ask_host", { id: "1", host: "again" });
  const [dialog, ...others] = dialogs();
  assert.equal(others.length, 0);
  assert.equal(dialog.querySelector(".rt-ask-host").textContent, "https://<b>a</b>.test");
  click(dialog, "Allow once");
  await settle();
  assert.deepEqual(answers(), [{ id: "1", answer: "once" }]);
  assert.equal(dialogs().length, 0);
  api.send("rethink.ask_host", { id: "1", host: "a" });
  assert.equal(dialogs().length, 1, "a question that comes again is asked again");
});

test("Escape means no", async () => {
  api.send("rethink.ask_host", { id: "2", host: "a" });
  const cancel = new Event("cancel", { cancelable: true });
  dialogs()[0].dispatchEvent(cancel);
  await settle();
  assert.equal(cancel.defaultPrevented, true);
  assert.deepEqual(answers(), [{ id: "2", answer: "no" }]);
});

test("an answer that was given in another window closes the question here", () => {
  api.send("rethink.ask_host", { id: "3", host: "a" });
  api.send("rethink.host_answered", { id: "other" });
  assert.equal(dialogs().length, 1);
  api.send("rethink.host_answered", { id: "3" });
  assert.equal(dialogs().length, 0);
});

test("an answer that comes too late is told", async () => {
  api.send("rethink.ask_host", { id: "4", host: "a" });
  api.answers["/rethink/hosts"] = new Response('{"error": "Nobody waits for this answer."}', { status: 400 });
  click(dialogs()[0], "Allow always");
  await settle();
  assert.deepEqual(messages, ["Nobody waits for this answer."]);
  assert.equal(dialogs().length, 0);
});
