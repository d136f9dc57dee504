// Renders /openapi.json. No library: the document is small and the page must need nothing from elsewhere.

import { element } from "./view.js";

const named = (reference) => reference.split("/").pop();

function typeOf(schema) {
  if (!schema) return "";
  if (schema.$ref) return named(schema.$ref);
  if (schema.anyOf) return schema.anyOf.map(typeOf).join(" or ");
  if (schema.enum) return schema.enum.join(" | ");
  if (schema.type === "array") return `list of ${typeOf(schema.items)}`;
  return schema.format ? `${schema.type} (${schema.format})` : schema.type || "any";
}

function table(rows) {
  const made = element("table");
  for (const cells of rows) {
    const row = element("tr");
    row.append(...cells.map((cell) => element("td", "", cell)));
    made.append(row);
  }
  return made;
}

function shape(name, schemas) {
  const schema = schemas[name];
  const properties = Object.entries(schema.properties || {});
  return properties.map(([field, value]) => [field, typeOf(value), value.description || ""]);
}

function operation(path, verb, spec, { schemas, responses }) {
  const box = element("details", "op");
  const head = element("summary");
  head.append(element("span", "verb", verb.toUpperCase()), element("span", "path", path), element("span", "what", spec.summary || ""));
  const body = element("div", "body");
  if (spec.description) body.append(element("p", "", spec.description));
  if (spec.parameters?.length) {
    body.append(element("h3", "", "Parameters"));
    body.append(table(spec.parameters.map((given) => [given.name, `${given.in}, ${typeOf(given.schema)}${given.required ? "" : ", optional"}`, given.description || ""])));
  }
  if (spec.requestBody) {
    body.append(element("h3", "", "Body"));
    body.append(element("p", "", `${Object.keys(spec.requestBody.content).join(" or ")}`));
  }
  for (const [status, given] of Object.entries(spec.responses || {})) {
    const answer = given.$ref ? responses[named(given.$ref)] : given;
    body.append(element("h3", "", `${status} ${answer.description}`));
    const content = Object.values(answer.content || {})[0];
    const name = content?.schema?.$ref && named(content.schema.$ref);
    if (name && name !== "Problem" && schemas[name]?.properties) body.append(table(shape(name, schemas)));
  }
  box.append(head, body);
  return box;
}

async function run() {
  const api = await (await fetch("/openapi.json")).json();
  document.getElementById("version").textContent = api.info.version;
  document.getElementById("about").textContent = api.info.description || "";
  const page = document.getElementById("docs");
  const groups = new Map();
  for (const [path, verbs] of Object.entries(api.paths)) {
    for (const [verb, spec] of Object.entries(verbs)) {
      const group = spec.tags?.[0] || "other";
      if (!groups.has(group)) groups.set(group, []);
      groups.get(group).push(operation(path, verb, spec, api.components));
    }
  }
  for (const [group, operations] of groups) page.append(element("h2", "", group), ...operations);
}

run();
