// Shows /openapi.json. Every text from it becomes a text node: nothing in it can be markup.
"use strict";

const BOUNDS = [
  "format", "const", "default", "pattern", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum",
  "minLength", "maxLength", "minItems", "maxItems", "uniqueItems", "minProperties", "maxProperties",
  "readOnly", "writeOnly", "x-bounds",
];
const JSON_TYPE = "application/json";
let api;

function element(tag, attributes, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) made.setAttribute(name, value);
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

// Text with `code` in backticks; blank lines begin paragraphs.
function prose(text) {
  return (text || "").split(/\n\n/).filter(Boolean).map((paragraph) => {
    const pieces = paragraph.split("`");
    return element("p", {}, ...pieces.map((piece, at) => (at % 2 ? element("code", {}, piece) : piece)));
  });
}

// Details whose inside is made when they are opened: the document is large and schemas may recur.
function lazy(summary, fill, attributes) {
  const details = element("details", attributes, element("summary", {}, ...summary));
  details.addEventListener("toggle", () => {
    if (details.open && !details.dataset.filled) {
      details.dataset.filled = "yes";
      details.append(...fill().filter(Boolean));
    }
  });
  return details;
}

function resolve(reference) {
  return reference.replace(/^#\//, "").split("/").reduce((place, part) => place[part], api);
}

function typeName(schema) {
  if (schema.$ref) return schema.$ref.split("/").pop();
  if (schema.type === "array") return `list of ${typeName(schema.items || {})}`;
  if (schema.type === "object" && typeof schema.additionalProperties === "object") {
    return `map to ${typeName(schema.additionalProperties)}`;
  }
  return [].concat(schema.type || []).join(" or ");
}

function facts(schema) {
  const shown = BOUNDS.filter((key) => key in schema);
  return shown.map((key) => element("span", { class: "fact" }, `${key} ${JSON.stringify(schema[key])}`));
}

// Everything a schema says, references behind details of their own.
function schemaView(schema) {
  const parts = [...prose(schema.description), ...facts(schema)];
  if (schema.$ref) {
    parts.push(lazy([element("code", {}, typeName(schema))], () => schemaView(resolve(schema.$ref))));
  }
  if (schema.enum) parts.push(element("p", {}, "One of ", element("code", {}, schema.enum.join(" "))));
  if (schema.properties) parts.push(propertyTable(schema.properties, schema.required || []));
  else if (schema.required) parts.push(element("p", {}, `Has ${schema.required.join(", ")}.`));
  for (const [key, word] of [["items", "Each"], ["contains", "Holds one"], ["additionalProperties", "Each value"],
    ["propertyNames", "Each key"], ["not", "Not"]]) {
    if (schema[key] && typeof schema[key] === "object") parts.push(nested(word, schema[key]));
  }
  for (const [key, word] of [["allOf", "All of"], ["oneOf", "One of"], ["anyOf", "Any of"]]) {
    (schema[key] || []).forEach((part) => parts.push(nested(part.title ? `${word} ${part.title}` : word, part)));
  }
  return parts;
}

function nested(word, schema) {
  return lazy([`${word} `, element("code", {}, typeName(schema))], () => schemaView(schema));
}

function propertyTable(properties, required) {
  return element("table", {}, ...Object.entries(properties).map(([name, schema]) => element("tr", {},
    element("td", required.includes(name) ? { class: "required" } : {}, element("code", {}, name)),
    element("td", {}, element("code", {}, typeName(schema)), " ", ...schemaView(schema)))));
}

function parameterTable(parameters) {
  return element("table", { class: "parameters" }, ...parameters.map((each) => element("tr", {},
    element("td", each.required ? { class: "required" } : {}, element("code", {}, each.name)),
    element("td", {}, `in ${each.in}`),
    element("td", {}, element("code", {}, typeName(each.schema)), " ",
      ...prose(each.description), ...schemaView(each.schema)))));
}

function responseView(status, response) {
  const whole = response.$ref ? resolve(response.$ref) : response;
  const title = status === "default" ? "Errors" : status;
  const contents = Object.entries(whole.content || {});
  return lazy([element("b", {}, title)], () => [...prose(whole.description),
    ...contents.flatMap(([type, content]) => [element("h3", {}, element("code", {}, type)),
      ...schemaView(content.schema || {})])]);
}

function operationView(path, verb, operation) {
  const contents = operation.requestBody ? operation.requestBody.content : {};
  const body = contents[JSON_TYPE] && contents[JSON_TYPE].schema;
  const fileType = Object.keys(contents).find((type) => type !== JSON_TYPE);
  const words = [path, verb, operation.summary, operation.description, operation["x-permission"], operation.operationId];
  const summary = [element("span", { class: "verb" }, verb.toUpperCase()), " ", element("span", { class: "path" }, path), " ",
    element("span", { class: "summary" }, operation.summary || "")];
  return lazy(summary, () => [
    ...prose(operation.description),
    element("p", {}, element("span", { class: "fact permission" }, `permission ${operation["x-permission"]}`),
      element("span", { class: "fact" }, `at most ${operation["x-timeout-seconds"]} s`),
      element("span", { class: "fact" }, operation["x-idempotent"] ? "may be repeated" : "must not be repeated")),
    operation.parameters && element("h3", {}, "Parameters"),
    operation.parameters && parameterTable(operation.parameters),
    body && element("h3", {}, "Body"), ...(body ? schemaView(body) : []),
    fileType && element("h3", {}, "Body"), fileType && element("p", {}, element("code", {}, fileType),
      element("span", { class: "fact" }, `a file of at most ${operation["x-max-body-bytes"]} bytes`)),
    element("h3", {}, "Answers"),
    ...Object.entries(operation.responses).map(([status, response]) => responseView(status, response)),
    trial(path, verb, operation.parameters || [], body, fileType),
  ], { class: "operation", "data-words": words.filter(Boolean).join(" ").toLowerCase() });
}

// A form that sends the call with the token of the page's head.
function trial(path, verb, parameters, body, fileType) {
  return lazy(["Try it"], () => {
    const inputs = parameters.map((each) => [each, element("input", { "aria-label": each.name, placeholder: each.name })]);
    const text = body && element("textarea", { "aria-label": "body" }, "{}");
    const file = fileType && element("input", { type: "file", "aria-label": "file" });
    const button = element("button", { type: "button" }, "Send");
    const answer = element("pre", { class: "answer", "aria-live": "polite" });
    button.addEventListener("click", () => send(path, verb, inputs, text, file, answer));
    return [...inputs.map(([, input]) => input), text, file, button, answer];
  });
}

async function send(path, verb, inputs, text, file, answer) {
  const query = new URLSearchParams();
  let target = path;
  for (const [parameter, input] of inputs) {
    if (parameter.in === "path") target = target.replace(`{${parameter.name}}`, encodeURIComponent(input.value));
    else if (input.value) query.append(parameter.name, input.value);
  }
  const headers = {};
  const token = document.getElementById("token").value.trim();
  if (token) headers.authorization = `Bearer ${token}`;
  if (text) headers["content-type"] = JSON_TYPE;
  const options = { method: verb.toUpperCase(), headers, body: text ? text.value : file ? file.files[0] : undefined };
  answer.textContent = "Waiting";
  try {
    const response = await fetch(`${target}${query.size ? `?${query}` : ""}`, options);
    answer.textContent = `${response.status}\n${await response.text()}`;
  } catch (error) {
    answer.textContent = String(error);
  }
}

function search(text) {
  const wanted = text.toLowerCase().split(/\s+/).filter(Boolean);
  for (const section of document.querySelectorAll("section")) {
    let found = 0;
    for (const operation of section.querySelectorAll(".operation")) {
      operation.hidden = !wanted.every((word) => operation.dataset.words.includes(word));
      found += operation.hidden ? 0 : 1;
    }
    section.hidden = found === 0;
  }
}

function render() {
  const operations = Object.entries(api.paths).flatMap(([path, verbs]) =>
    Object.entries(verbs).map(([verb, operation]) => [path, verb, operation]));
  const sections = api.tags.map((tag) => element("section", {}, element("h2", {}, tag.name), ...prose(tag.description),
    ...operations.filter(([, , operation]) => operation.tags.includes(tag.name)).map((each) => operationView(...each))));
  document.getElementById("content").replaceChildren(...prose(api.info.description), ...sections);
}

async function load() {
  const response = await fetch("/openapi.json");
  if (!response.ok) throw new Error(`/openapi.json answered ${response.status}`);
  api = await response.json();
  render();
  const field = document.getElementById("search");
  field.addEventListener("input", () => search(field.value));
  search(field.value);
}

load().catch((error) => { document.getElementById("state").textContent = String(error); });
