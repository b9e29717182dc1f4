/** Asks whether images may be sent to a server that a workflow names. `api`: ComfyUI's. */

import { element } from "./viewer/dom.mjs";

const dialogs = new Map(); // the id of a question → its dialog

export function askAboutHosts(api, notify) {
  api.addEventListener("rethink.ask_host", ({ detail }) => show(api, notify, detail));
  api.addEventListener("rethink.host_answered", ({ detail }) => dialogs.get(detail.id)?.close());
  api.addEventListener("reconnected", () => showOpen(api, notify));
  showOpen(api, notify);
}

/** What was asked before this page was there. */
async function showOpen(api, notify) {
  const reply = await api.fetchApi("/rethink/hosts");
  if (!reply.ok) return;
  for (const question of await reply.json()) show(api, notify, question);
}

function show(api, notify, { id, host }) {
  if (dialogs.has(id)) return;
  async function give(answer) {
    const reply = await api.fetchApi("/rethink/hosts", { method: "POST", body: JSON.stringify({ id, answer }) });
    if (!reply.ok) notify((await reply.json()).error);
    dialog.close();
  }
  const button = (answer, label, attributes = {}) =>
    element("button", { type: "button", class: "rt-button", onclick: () => give(answer), ...attributes }, label);
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
      button("no", "No", { autofocus: true }),
      button("once", "Allow once"),
      button("always", "Allow always"),
    ),
  );
  dialog.addEventListener("cancel", (event) => {
    event.preventDefault(); // Escape
    give("no");
  });
  dialog.addEventListener("close", () => {
    dialogs.delete(id);
    dialog.remove();
  });
  dialogs.set(id, dialog);
  document.body.append(dialog);
  dialog.showModal();
}
