/* Requests to the server: the answer, or the error. */
import { useState } from "./vendor/htm-preact.js";

export async function ask(path, body) {
  const response = await fetch(path, body === undefined ? {} : {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body),
  }).catch(() => { throw new Error("the server does not respond; is it still running?"); });
  const answer = await response.json().catch(() => ({ error: `the server answered ${response.status}` }));
  if (!response.ok) throw new Error(answer.error);
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
