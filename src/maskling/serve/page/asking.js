/* Requests to the server: the answer, or the error. */
import { useState } from "./vendor/htm-preact.js";

/* The API key, if the server wants one: kept until the tab is closed. */
const KEY = "maskling-api-key";

export async function ask(path, body) {
  const key = sessionStorage.getItem(KEY);
  const response = await fetch(path, {
    ...(body === undefined ? {} : { method: "POST", body: JSON.stringify(body) }),
    headers: { "Content-Type": "application/json", ...(key ? { Authorization: `Bearer ${key}` } : {}) },
  }).catch(() => { throw new Error("the server does not respond; is it still running?"); });
  if (response.status === 401) {
    const given = prompt(key ? "The API key is wrong. Which is it?" : "The API key of this server:");
    if (given) {
      sessionStorage.setItem(KEY, given.trim());
      return ask(path, body);
    }
  }
  const answer = await response.json().catch(() => ({ error: `the server answered ${response.status}` }));
  if (!response.ok) throw new Error(answer.error.message || answer.error);
  return answer;
}

/* State of the last request: the answer, whether it is in progress, and the error. */
export function useAnswer() {
  const [state, set] = useState({});
  const run = async (question) => {
    set((old) => ({ ...old, busy: true }));
    try {
      set({ answer: await question() });
    } catch (error) {
      set({ problem: error.message });
    }
  };
  return [state, run];
}
