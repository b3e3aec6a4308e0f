// Elements without markup in strings: whatever comes from outside becomes a text node and nothing else.

const SVG = "http://www.w3.org/2000/svg";

/** An HTML element; attributes may be class, data: {…}, on: {event: function} or any attribute by its name. */
export function h(tag, attributes, ...children) {
  return dress(document.createElement(tag), attributes, children);
}

/** The same in the SVG namespace. */
export function svg(tag, attributes, ...children) {
  return dress(document.createElementNS(SVG, tag), attributes, children);
}

/** Remove every child; returns the node. */
export function clear(node) {
  node.replaceChildren();
  return node;
}

/** Put this text there, if it is not what stands there already: no needless layout, no needless announcement. */
export function say(node, text) {
  const said = text === null || text === undefined ? "" : String(text);
  if (node.textContent !== said) node.textContent = said;
  return node;
}

/** Set or remove an attribute, if it changes. */
export function mark(node, name, value) {
  if (value === null || value === undefined || value === false) {
    if (node.hasAttribute(name)) node.removeAttribute(name);
  } else {
    const text = value === true ? "" : String(value);
    if (node.getAttribute(name) !== text) node.setAttribute(name, text);
  }
  return node;
}

function dress(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (name === "on") {
      for (const [event, heard] of Object.entries(value)) node.addEventListener(event, heard);
    } else if (name === "data") {
      for (const [key, each] of Object.entries(value)) if (each !== null && each !== undefined) node.dataset[key] = each;
    } else if (name.startsWith("on")) {
      throw new TypeError(`${name}: handlers go into on: {…}`);
    } else {
      mark(node, name, value);
    }
  }
  append(node, children);
  return node;
}

function append(node, children) {
  for (const child of children) {
    if (child === null || child === undefined || child === false) continue;
    if (Array.isArray(child)) append(node, child);
    else node.append(child instanceof Node ? child : document.createTextNode(String(child)));
  }
}
