/* One question to the server, and its answer or what was wrong. */
import { useState } from "./vendor/htm-preact.js";

export async function ask(path, body) {
  const response = await fetch(path, body === undefined ? {} : {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body),
  }).catch(() => { throw new Error("the server does not answer; is it still running?"); });
  const answer = await response.json().catch(() => ({ error: `the server answered ${response.status}` }));
  if (!response.ok) throw new Error(answer.error);
  return answer;
}

/* The answer to the last question, whether one is on its way, and what went wrong. */
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
