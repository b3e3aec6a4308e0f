// The first view. Its numbers follow.

import { h, say } from "./dom.js";
import { rate } from "./format.js";

export const view = {
  id: "now",
  title: "Now",
  mount(root, app) {
    const value = h("span", { class: "value" }, rate(null));
    root.append(h("div", { class: "view-head" }, h("h1", null, "Now")), h("div", { class: "panel stat" }, h("span", { class: "label" }, "Requests per second"), value));
    const leave = app.live.subscribe((state) => say(value, rate(state.tick?.perSecond)));
    return { unmount: leave };
  },
};
