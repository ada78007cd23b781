/* View of generation: masks are filled step by step, and the steps can be replayed. */
import { html, useEffect, useState } from "./vendor/htm-preact.js";
import { useAnswers, useFirst, useLinked } from "./asking.js";
import { Another, Field, Form, NumberField, Select, Sides } from "./parts.js";
import { say } from "./words.js";

const start = (text) => /\s/.test(text.trim()) ? text.trim().split(/\s+/).slice(0, 4).join(" ") : text.slice(0, 6);

export function Generation({ about, examples, shown: visible }) {
  const mask = about.mask_token;
  const [text, setText] = useLinked("Generation", "text", start(examples.texts[0] ?? ""));
  const [length, setLength] = useLinked("Generation", "length", Math.min(16, Math.max(4, Math.floor(about.max_input_length / 4))));
  const [order, setOrder] = useLinked("Generation", "order", "confidence");
  const [temperature, setTemperature] = useLinked("Generation", "temperature", 0.7);
  const [seed, setSeed] = useLinked("Generation", "seed", 0);
  const [state, run] = useAnswers(about);
  const masks = text.split(mask).length - 1;
  const generate = (given = text, own = seed) => run("generate",
    { text: given, order, temperature, seed: own, ...(given.split(mask).length - 1 > 1 ? {} : { length }) }, { text: given, mask });
  const again = () => {
    setSeed(seed + 1);
    generate(text, seed + 1);
  };
  useFirst(visible, () => generate());
  return html`<div>
    <p class="hint">${say("A masked model writes by filling masks in any order. Write {mask} in the text, one for each token, or let it continue the text.", { mask })}</p>
    <${Form} view="Generation" asked=${() => generate()} state=${state} label=${say("Generate")}
      fields=${html`<${Field} label=${say("Text")} value=${text} set=${setText} />`}>
      <button type="button" onClick=${again}>${say("Another draw")}</button>
      ${masks < 2 && html`<${NumberField} label=${say("tokens")} value=${length} set=${setLength} min=${1} max=${256} />`}
      <${Select} label=${say("order")} value=${order} set=${setOrder} options=${[["confidence", say("most certain first")],
        ["left-to-right", say("left to right")], ["random", say("random")]]} />
      <${NumberField} label=${say("temperature")} value=${temperature} set=${setTemperature} min=${0} max=${10} step=${0.1} />
      <${Another} examples=${examples.texts} take=${(one) => { setText(start(one)); generate(start(one)); }} />
    <//>
    <${Sides} state=${state}>${(answer, kept) => html`<${Replay} key=${JSON.stringify(answer[0])} found=${answer[0]} ...${kept} />`}<//>
  </div>`;
}

const letters = (token) => token.replace(/^(##|Ġ|▁)/, "") || token;

function Replay({ found, text, mask }) {
  const last = Math.max(...found.steps);
  const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
  const [step, setStep] = useState(calm ? last : -1);
  const [playing, play] = useState(!calm);
  useEffect(() => {
    if (!playing) return undefined;
    if (step >= last) {
      play(false);
      return undefined;
    }
    const timer = setTimeout(() => setStep(step + 1), Math.min(350, 5000 / (last + 1)));
    return () => clearTimeout(timer);
  }, [playing, step]);
  const toggle = () => {
    if (!playing && step >= last) setStep(-1);
    play(!playing);
  };
  // The given parts of the text; masks that only white space separates are one gap.
  const gaps = [];
  const parts = [""];
  text.split(mask).forEach((part, index) => {
    if (index === 0) parts[0] = part;
    else if (index > 1 && !parts[parts.length - 1].trim()) {
      gaps[gaps.length - 1]++;
      parts[parts.length - 1] = part;
    } else {
      gaps.push(1);
      parts.push(part);
    }
  });
  if (gaps.length < 2 && found.tokens.length !== gaps[0]) {
    if (!gaps.length) parts.push("");
    gaps[0] = found.tokens.length;
  }
  let next = 0;
  const chips = gaps.map((size) => Array.from({ length: size }, () => next++));
  const chip = (index) => {
    const open = found.steps[index] > step;
    const continues = /^##/.test(found.tokens[index]);
    // An open one takes the room of its token already, so that nothing moves when it is filled.
    return html`<span key=${index} class=${`chip ${open ? "open drawn" : ""} ${found.steps[index] === step ? "new" : ""} ${continues ? "joined" : ""}`}>
      <b>${letters(found.tokens[index])}</b><small>${found.steps[index] + 1} · ${Math.round(100 * Math.exp(found.log_probabilities[index]))}%</small></span>`;
  };
  return html`<div>
    <div class="row">
      <button type="button" onClick=${toggle}>${playing ? say("Pause") : say("Play")}</button>
      <label>${say("step {step} of {last}", { step: step + 1, last: last + 1 })} <input type="range" min="-1" max=${last} value=${step}
        onInput=${(event) => { play(false); setStep(+event.target.value); }} /></label>
    </div>
    <div class="read steps">${chips.map((own, gap) => html`${parts[gap]} ${own.map(chip)} `)}${parts[parts.length - 1]}</div>
    <p class="hint">${say("Below each token: the step that filled it, and its probability at that step.")}</p>
    <p class="card">${found.text}</p>
  </div>`;
}
