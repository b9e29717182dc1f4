/** The pack's only access to ComfyUI's front end. */

// @ts-expect-error ComfyUI serves it
import { api as comfyApi } from "../../scripts/api.js";
// @ts-expect-error ComfyUI serves it
import { app as comfyApp } from "../../scripts/app.js";

/** @type {ComfyApp} */
export const app = comfyApp;

/** @type {ComfyApi} */
export const api = comfyApi;

/** Show a sentence to the user. @param {string} detail */
export function notify(detail) {
  app.extensionManager.toast.add({ severity: "warn", summary: "Rethink", detail, life: 6000 });
}

/**
 * Send a request to one of the pack's own server routes.
 *
 * @param {string} path
 * @param {object} body
 * @returns {Promise<any>} the server's answer; null if there is none, after telling the user why
 */
export async function post(path, body) {
  const reply = await api.fetchApi(path, { method: "POST", body: JSON.stringify(body) });
  const answer = await reply.json();
  if (reply.ok) return answer;
  notify(answer.error);
  return null;
}

/**
 * How the server identifies a file in ComfyUI's folders.
 *
 * @typedef {{filename: string, subfolder: string, type: string}} FileReference
 */

/** The address of a file. @param {FileReference} reference */
export const viewUrl = (reference) => api.apiURL(`/view?${new URLSearchParams(reference)}`);

/** Have ComfyUI record the state of the workflow: it does not notice changes made by keys in an input field. */
export function captureWorkflow() {
  const tracker = app.extensionManager.workflow.activeWorkflow?.changeTracker;
  if (tracker?.captureCanvasState) tracker.captureCanvasState();
  else tracker?.checkState?.(); // its name in older front ends
}

/** Add a style sheet of the pack to the page. @param {URL} address */
export function addStyleSheet(address) {
  const link = document.createElement("link");
  Object.assign(link, { rel: "stylesheet", href: address.href });
  document.head.append(link);
}
