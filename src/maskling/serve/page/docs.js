/* The endpoints, from openapi.json: what each takes, returns and refuses. */
import { html, render, useEffect, useState } from "./vendor/htm-preact.js";
import { ask } from "./asking.js";

const named = (schema) => schema.$ref && schema.$ref.split("/").pop();

/* A schema in a few words. */
function words(schema, all) {
  if (!schema || !Object.keys(schema).length) return "anything";
  if (schema.$ref) return named(schema);
  const choices = schema.anyOf || schema.oneOf;
  if (choices) return [...new Set(choices.map((one) => words(one, all)))].join(" or ");
  if (schema.enum) return schema.enum.map((one) => JSON.stringify(one)).join(" or ");
  if ("const" in schema) return JSON.stringify(schema.const);
  if (schema.type === "array") return `list of ${words(schema.items, all)}`;
  if (schema.type === "object" && schema.properties) return `{${Object.keys(schema.properties).join(", ")}}`;
  const limits = [["minimum", "from"], ["maximum", "to"], ["minItems", "at least"], ["maxItems", "at most"]];
  return [schema.type, ...limits.filter(([key]) => key in schema).map(([key, word]) => `${word} ${schema[key]}`)].join(" ");
}

function Fields({ schema, all, required = [] }) {
  const variants = schema.anyOf || [schema];
  const properties = Object.assign({}, ...variants.map((one) => one.properties || {}));
  return html`<table><tbody>${Object.entries(properties).map(([name, field]) => html`
    <tr key=${name}><td><code>${name}</code></td><td>${words(field, all)}</td>
      <td>${required.includes(name) ? "required" : "default" in field ? `default ${JSON.stringify(field.default)}` : ""}</td></tr>`)}
  </tbody></table>`;
}

function Endpoint({ path, method, about, all }) {
  const content = about.requestBody && Object.values(about.requestBody.content)[0].schema;
  const body = content && (all[named(content)] || content);
  const answered = about.responses["200"].content;
  const answer = answered && Object.values(answered)[0].schema;
  return html`<details>
    <summary><code>${method.toUpperCase()} ${path}</code> ${(about.description || "").split("\n")[0]}</summary>
    ${body && html`<p>${body.description}</p><${Fields} schema=${body} all=${all} required=${body.required} />`}
    <p>returns ${words(answer, all)}</p>
    <p>errors: ${Object.entries(about.responses).filter(([status]) => status !== "200")
      .map(([status, one]) => `${status} ${one.description}`).join("; ")}</p>
  </details>`;
}

function Page() {
  const [described, setDescribed] = useState(null);
  const [problem, setProblem] = useState(null);
  useEffect(() => { ask("openapi.json").then(setDescribed, (error) => setProblem(error.message)); }, []);
  if (problem) return html`<main><p class="problem" role="alert">${problem}</p></main>`;
  if (!described) return html`<main></main>`;
  const all = described.components.schemas;
  const endpoints = Object.entries(described.paths)
    .flatMap(([path, methods]) => Object.entries(methods).map(([method, about]) => ({ path, method, about })));
  const tags = [...new Set(endpoints.map(({ about }) => about.tags[0]))];
  return html`<main>
    <header><h1>${described.info.title}</h1>
      <span class="facts">for programs: <a href="openapi.json">openapi.json</a> · <a href="./">try the model</a></span></header>
    ${tags.map((tag) => html`<section key=${tag}><h2>${tag}</h2>
      ${endpoints.filter(({ about }) => about.tags[0] === tag).map((one) => html`
        <${Endpoint} key=${one.method + one.path} ...${one} all=${all} />`)}</section>`)}
    <section><h2>Types</h2>${Object.entries(all).map(([name, schema]) => html`
      <details key=${name}><summary><code>${name}</code> ${(schema.description || "").split("\n")[0]}</summary>
        <${Fields} schema=${schema} all=${all} required=${schema.required} /></details>`)}</section>
  </main>`;
}

render(html`<${Page} />`, document.body);
