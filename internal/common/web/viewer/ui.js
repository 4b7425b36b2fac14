// Shows an OpenAPI document: no library, nothing from elsewhere, no markup from texts.
"use strict";

const make = (tag, props, ...children) => {
  const node = Object.assign(document.createElement(tag), props);
  node.append(...children.filter((c) => c !== null && c !== undefined));
  return node;
};

let doc;

const resolve = (schema) => {
  const name = schema?.$ref?.split("/").pop();
  return name ? doc.components.schemas[name] : schema ?? {};
};

const typeOf = (schema) => {
  const name = schema?.$ref?.split("/").pop();
  const s = resolve(schema);
  if (s.type === "array") return `array of ${typeOf(s.items)}`;
  if (Array.isArray(s.type) && s.type.includes("array")) return `array of ${typeOf(s.items)} or null`;
  const type = [s.type].flat().filter(Boolean).join(" or ") || "any";
  return name ?? (s.format ? `${type} (${s.format})` : type);
};

const limits = (schema) => {
  const s = resolve(schema);
  const values = s.enum ?? s.items?.enum;
  return [
    values && `one of ${values.join(", ")}`,
    s.default !== undefined && `default ${JSON.stringify(s.default)}`,
    s.minimum !== undefined && `at least ${s.minimum}`,
    s.maximum !== undefined && `at most ${s.maximum}`,
    s.maxLength !== undefined && `up to ${s.maxLength} characters`,
    s.maxItems !== undefined && `up to ${s.maxItems} items`,
  ].filter(Boolean).join("; ");
};

const row = (name, required, schema, text) => make("tr", {},
  make("td", {}, make("code", { className: required ? "required" : "" }, name)),
  make("td", { className: "quiet" }, typeOf(schema)),
  make("td", {}, [text ?? resolve(schema).description, limits(schema)].filter(Boolean).join(" — ")));

// A schema opens when asked for: some hold others without end.
const schemaView = (schema) => {
  const s = resolve(schema);
  const items = s.type === "array" || Array.isArray(s.type) && s.items ? resolve(s.items) : s;
  const properties = Object.entries(items.properties ?? {}).filter(([name]) => name !== "$schema");
  if (!properties.length) return make("p", { className: "quiet" }, typeOf(schema));
  const table = make("table", {}, ...properties.flatMap(([name, property]) => {
    const line = row(name, (items.required ?? []).includes(name), property);
    const inner = resolve(property);
    const below = inner.type === "array" || inner.items ? resolve(inner.items) : inner;
    if (!below.properties) return [line];
    const more = make("details", {}, make("summary", { className: "quiet" }, `fields of ${name}`));
    more.addEventListener("toggle", () => more.childElementCount === 1 && more.append(schemaView(property)));
    line.lastChild.append(more);
    return [line];
  }));
  return make("div", {}, make("p", { className: "quiet" }, typeOf(schema)), table);
};

const bodyView = (title, content) => {
  const [media, { schema } = {}] = Object.entries(content ?? {})[0] ?? [];
  if (!media) return make("h3", {}, title);
  const box = make("details", {}, make("summary", {}, `${title} `, make("code", { className: "quiet" }, media)));
  box.addEventListener("toggle", () => box.childElementCount === 1 && box.append(schemaView(schema)));
  return box;
};

const curl = (method, path, op) => {
  const lines = [`curl ${method === "GET" ? "" : `-X ${method} `}'${location.origin}${path}'`];
  if (op.requestBody) lines.push(`-H 'Content-Type: application/json' -d '{…}'`);
  return lines.join(" \\\n  ");
};

const operationView = (path, method, op) => {
  const box = make("details", { className: "operation", id: op.operationId },
    make("summary", {}, make("span", { className: "method" }, method), make("code", {}, path), " ", make("span", { className: "quiet" }, op.summary ?? "")));
  box.dataset.words = `${method} ${path} ${op.summary} ${op.description} ${op.operationId}`.toLowerCase();
  box.addEventListener("toggle", () => {
    if (box.childElementCount > 1) return;
    const parameters = op.parameters ?? [];
    box.append(make("div", { className: "body" },
      op.description ? make("p", {}, op.description) : null,
      make("pre", {}, curl(method, path, op)),
      parameters.length ? make("h3", {}, "Parameters") : null,
      parameters.length ? make("table", {}, ...parameters.map((p) => row(`${p.name} (${p.in})`, p.required, p.schema, p.description))) : null,
      op.requestBody ? bodyView("Request", op.requestBody.content) : null,
      ...Object.entries(op.responses ?? {}).map(([status, r]) => bodyView(`${status} ${r.description ?? ""}`, r.content))));
  });
  return box;
};

const show = () => {
  document.title = doc.info.title;
  document.getElementById("title").textContent = `${doc.info.title} ${doc.info.version}`;
  const groups = new Map();
  for (const [path, methods] of Object.entries(doc.paths)) {
    for (const [method, op] of Object.entries(methods)) {
      const group = op.tags?.[0] ?? "other";
      groups.set(group, [...(groups.get(group) ?? []), operationView(path, method.toUpperCase(), op)]);
    }
  }
  document.getElementById("operations").replaceChildren(...[...groups].sort().map(
    ([group, views]) => make("section", {}, make("h2", {}, group), ...views)));
  const open = document.getElementById(location.hash.slice(1));
  if (open instanceof HTMLDetailsElement) { open.open = true; open.scrollIntoView(); }
};

document.getElementById("filter").addEventListener("input", (event) => {
  const words = event.target.value.toLowerCase().split(/\s+/);
  for (const box of document.querySelectorAll(".operation")) box.hidden = !words.every((w) => box.dataset.words.includes(w));
  for (const section of document.querySelectorAll("section")) section.hidden = !section.querySelector(".operation:not([hidden])");
});

fetch("openapi.json").then((r) => r.json()).then((d) => { doc = d; show(); }).catch((error) => {
  document.getElementById("operations").textContent = `The description of the API did not load: ${error}`;
});
