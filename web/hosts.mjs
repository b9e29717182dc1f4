/** Asks whether images may be sent to a server that a workflow names. */

import { element } from "./viewer/dom.mjs";

/** @typedef {{id: string, host: string}} HostQuestion */
/** @typedef {"no" | "once" | "always"} HostAnswer */
/** @typedef {(detail: string) => void} Notify */

/** @type {Map<string, () => void>} the id of a question → closes its dialog */
const dialogs = new Map();

/**
 * Show the questions of the server, those that are open and all later ones.
 *
 * @param {ComfyApi} api
 * @param {Notify} notify tells the user that an answer came too late
 */
export function askAboutHosts(api, notify) {
  api.addEventListener("rethink.ask_host", ({ detail }) => ask(api, notify, detail));
  api.addEventListener("rethink.host_answered", ({ detail }) => dialogs.get(detail.id)?.());
  api.addEventListener("reconnected", () => askOpenQuestions(api, notify));
  askOpenQuestions(api, notify);
}

/** Show the questions that were asked before this page was open. @param {ComfyApi} api @param {Notify} notify */
async function askOpenQuestions(api, notify) {
  const reply = await api.fetchApi("/rethink/hosts");
  if (!reply.ok) return;
  for (const question of await reply.json()) ask(api, notify, question);
}

/** @param {ComfyApi} api @param {Notify} notify @param {HostQuestion} question */
function ask(api, notify, { id, host }) {
  if (dialogs.has(id)) return;
  /** @param {HostAnswer} answer */
  async function send(answer) {
    const reply = await api.fetchApi("/rethink/hosts", { method: "POST", body: JSON.stringify({ id, answer }) });
    if (!reply.ok) notify((await reply.json()).error);
    end();
  }
  // Do not wait for the dialog's close event: until it comes, the next question would count as already asked.
  function end() {
    dialogs.delete(id);
    dialog.remove();
  }
  /** @type {(answer: HostAnswer, label: string, autofocus?: boolean) => HTMLElement} */
  const button = (answer, label, autofocus = false) =>
    element("button", { type: "button", class: "rt-button", autofocus, onclick: () => send(answer) }, label);
  const dialog = element(
    "dialog",
    { class: "rt rt-ask", "aria-labelledby": `rt-ask-${id}` },
    element("h2", { id: `rt-ask-${id}` }, "Send your images to another machine?"),
    element("p", {}, "This workflow wants to send your images to"),
    element("p", { class: "rt-ask-host" }, host),
    element("p", { class: "rt-ask-note" }, "Allow this only if you know whose server that is."),
    element(
      "div",
      { class: "rt-ask-answers" },
      button("no", "No", true),
      button("once", "Allow once"),
      button("always", "Allow always"),
    ),
  );
  dialog.addEventListener("cancel", (event) => {
    event.preventDefault(); // Escape
    send("no");
  });
  dialog.addEventListener("close", () => send("no")); // by the browser itself, which may close it without “cancel”
  dialogs.set(id, end);
  document.body.append(dialog);
  dialog.showModal();
}
