/* Requests to the server: the answer, or the error; one for each served model. */
import { useEffect, useRef, useState } from "./vendor/htm-preact.js";
import { say } from "./words.js";

/* The API key, if the server wants one: kept until the tab is closed. */
const KEY = "maskling-api-key";

export async function ask(path, body) {
  const key = sessionStorage.getItem(KEY);
  const response = await fetch(path, {
    ...(body === undefined ? {} : { method: "POST", body: JSON.stringify(body) }),
    headers: { "Content-Type": "application/json", ...(key ? { Authorization: `Bearer ${key}` } : {}) },
  }).catch(() => { throw new Error(say("the server does not respond; is it still running?")); });
  if (response.status === 401) {
    const given = prompt(say(key ? "The API key is wrong. Which is it?" : "The API key of this server:"));
    if (given) {
      sessionStorage.setItem(KEY, given.trim());
      return ask(path, body);
    }
  }
  const answer = await response.json().catch(() => ({ error: `the server answered ${response.status}` }));
  if (!response.ok) throw new Error(answer.error.message || answer.error);
  return answer;
}

/* The same request as a command line. */
export function curl(path, body) {
  const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;
  const key = sessionStorage.getItem(KEY) ? " -H 'Authorization: Bearer KEY'" : "";
  return `curl ${quoted(new URL(path, location.href.split("#")[0]).href)} -H 'Content-Type: application/json'${key} -d ${
    quoted(JSON.stringify(body))}`;
}

/* The models: {name, base}, base the start of the paths of their endpoints. */
export function modelsOf(about) {
  const first = { name: about.model_id, base: "" };
  return about.compared ? [first, { name: about.compared, base: "compare/" }] : [first];
}

/* State of the last request: `answers`, one per model; whether one is in progress and since when; and the error.
   The old answer stays until the new one is there, so nothing jumps. */
export function useAnswers(about) {
  const [state, set] = useState({});
  const number = useRef(0);
  /* path, body: of the request; keep: what the answer belongs to, kept beside it; finish: changes each answer. */
  const run = async (path, body, keep = {}, finish = (answer) => answer) => {
    const own = ++number.current;
    set((old) => ({ ...old, busy: true, problem: null, command: curl(path, body) }));
    const answers = await Promise.all(modelsOf(about).map(async ({ name, base }) => {
      try {
        return { name, answer: finish(await ask(base + path, body)) };
      } catch (error) {
        return { name, problem: error.message };
      }
    }));
    if (own !== number.current) return;
    const problem = answers.find((one) => one.problem)?.problem;
    if (answers.every((one) => one.problem)) set((old) => ({ ...old, busy: false, problem, answers: null }));
    else set((old) => ({ command: old.command, answers, kept: keep, problem }));
  };
  return [state, run];
}

/* Calls `first` once, when a view is shown for the first time. */
export function useFirst(shown, first) {
  const done = useRef(false);
  useEffect(() => {
    if (!shown || done.current) return;
    done.current = true;
    first();
  }, [shown]);
}

/* The state that links carry: for each view, what its fields hold. */
const linked = readLink();

function readLink() {
  const given = new URLSearchParams(location.hash.slice(1));
  const [first] = given.keys();
  const view = given.get("view") ?? (first && !given.get(first) ? first : "");
  given.delete("view");
  return { view, [view]: Object.fromEntries(given) };
}

export const linkedView = () => linked.view;

export function linkTo(view) {
  const fields = Object.entries(linked[view] ?? {}).filter(([, value]) => value !== "");
  return `#${new URLSearchParams([["view", view], ...fields])}`;
}

/* A field of a view, whose value is in the link of the view. Numbers and booleans keep their type. */
export function useLinked(view, name, initial) {
  const given = linked[view]?.[name];
  const [value, set] = useState(() => given === undefined ? initial
    : typeof initial === "number" ? (Number.isFinite(+given) ? +given : initial)
      : typeof initial === "boolean" ? given === "true" : given);
  (linked[view] ??= {})[name] = value === initial && typeof value !== "string" ? "" : String(value);
  useEffect(() => {
    if (linked.view !== view) return undefined;
    const later = setTimeout(() => history.replaceState(null, "", linkTo(view)), 300);
    return () => clearTimeout(later);
  }, [value]);
  return [value, set];
}

export function show(view) {
  linked.view = view;
  history.pushState(null, "", linkTo(view));
}

export function followLink() {
  const { view } = readLink();
  if (view) linked.view = view;
  return view;
}
