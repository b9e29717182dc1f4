/** A stand-in for ComfyUI's front end: a graph to look at, answers to be had, and events to be sent. */

import { setTimeout } from "node:timers/promises";
import { Graph } from "./graph.mjs";

export const app = {
  rootGraph: new Graph("root"),
  messages: [], // what the user was told
  actionListeners: [],
  extensionManager: {
    toast: { add: ({ detail }) => app.messages.push(detail) },
    workflow: {
      activeWorkflow: null,
      openWorkflows: [],
      $onAction: (listener) => app.actionListeners.push(listener),
    },
  },
};

class Api extends EventTarget {
  clientId = "client";
  answers = {}; // path → answer, or what makes one of the request
  requests = []; // [path, body]

  apiURL(path) {
    return `/api${path}`;
  }

  async fetchApi(path, options) {
    const body = options?.body && JSON.parse(options.body);
    this.requests.push(body === undefined ? [path] : [path, body]);
    const answer = this.answers[path.split("?")[0]];
    if (answer === undefined) return new Response("{}", { status: 404 });
    return answer instanceof Response ? answer : new Response(JSON.stringify(answer));
  }

  send(name, detail) {
    this.dispatchEvent(new CustomEvent(name, { detail }));
  }

  reset(answers = {}) {
    Object.assign(this, { answers, requests: [] });
  }
}

export const api = new Api();

/** Let everything that has been started by now come to its end. */
export const settle = () => setTimeout(5);
