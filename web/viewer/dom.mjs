/** A few lines in place of a framework. */

/** @typedef {string | number | boolean | null | undefined} AttributeValue true: ""; false, null, undefined: none */
/** @typedef {Record<string, AttributeValue | ((event: any) => void)>} Attributes functions are listeners */
/** @typedef {Node | string | null | undefined} Child null and undefined are left out */

/**
 * Create an element with its attributes and children.
 *
 * @template {keyof HTMLElementTagNameMap} Tag
 * @param {Tag} tag
 * @param {Attributes} attributes
 * @param {...(Child | Child[])} children
 */
export function element(tag, attributes = {}, ...children) {
  const created = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") created.addEventListener(name.slice(2), value);
    else setAttribute(created, name, value);
  }
  for (const child of children.flat()) if (child !== null && child !== undefined) created.append(child);
  return created;
}

/**
 * Set an attribute: true means "", and false, null and undefined remove it.
 *
 * @param {HTMLElement | SVGElement} target
 * @param {string} name
 * @param {AttributeValue} value
 */
export function setAttribute(target, name, value) {
  if (value === null || value === undefined || value === false) target.removeAttribute(name);
  else if (name === "style")
    target.style.cssText = String(value); // an exported page's policy refuses the attribute
  else target.setAttribute(name, value === true ? "" : String(value));
}

/**
 * Create an SVG element with its attributes and children.
 *
 * @template {keyof SVGElementTagNameMap} Tag
 * @param {Tag} tag
 * @param {Record<string, string | number>} attributes
 * @param {...Node} children
 */
export function svgElement(tag, attributes, ...children) {
  const created = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) created.setAttribute(name, String(value));
  created.append(...children);
  return created;
}

const ICON_PATHS = {
  star: "M12 2.6l2.9 6 6.5.9-4.7 4.6 1.1 6.5L12 17.5l-5.8 3.1 1.1-6.5L2.6 9.5l6.5-.9z",
  check: "M4.5 12.5l5 5 10-11",
  cross: "M6 6l12 12M18 6L6 18",
  question: "M8.5 9a3.5 3.5 0 1 1 5 3.2c-1 .5-1.5 1.1-1.5 2.3M12 18.5v.1",
  plus: "M12 5v14M5 12h14",
  minus: "M5 12h14",
  fullscreen: "M4 9V4h5M15 4h5v5M20 15v5h-5M9 20H4v-5",
  stop: "M6.5 6.5h11v11h-11z",
  pencil: "M4 20l1-4.5L16.5 4 20 7.5 8.5 19zM14 6.5l3.5 3.5",
  arrow: "M5 12h14M13 6l6 6-6 6",
  download: "M12 4v11M7 11l5 5 5-5M5 20h14",
};

/** @typedef {keyof typeof ICON_PATHS} IconName */

/**
 * A line icon in the color of the text around it; decoration only, so that its button needs a label.
 *
 * @param {IconName} name
 */
export function icon(name) {
  const attributes = { viewBox: "0 0 24 24", "aria-hidden": "true", class: `rt-icon rt-icon-${name}` };
  return svgElement("svg", attributes, svgElement("path", { d: ICON_PATHS[name] }));
}

/**
 * A function that does `work` once before the next frame, however often it is called.
 *
 * @param {() => void} work
 */
export function oncePerFrame(work) {
  let scheduled = false;
  return () => {
    if (scheduled) return;
    scheduled = true;
    requestAnimationFrame(() => {
      scheduled = false;
      work();
    });
  };
}
