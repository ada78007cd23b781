/* Views of a masked language model: filling masks, and scoring texts. */
import { html, useRef } from "./vendor/htm-preact.js";
import { useAnswers, useFirst, useLinked } from "./asking.js";
import { Another, Bars, Check, Field, Form, NumberField, Sides, segments, shown } from "./parts.js";
import { say } from "./words.js";

/* A text with its most telling word masked: the longest of those in the middle. */
function masked(text, mask) {
  if (text.includes(mask)) return { text, word: null };
  const words = segments(text).filter((one) => one.isWord);
  const inner = words.length > 2 ? words.slice(1, -1) : words;
  const [best] = [...inner].sort((one, other) => other.text.length - one.text.length || other.start - one.start);
  return best ? { text: text.slice(0, best.start) + mask + text.slice(best.stop), word: best.text } : { text: mask, word: null };
}

export function Fill({ about, examples, shown: visible }) {
  const mask = about.mask_token;
  const first = useRef(masked(examples.texts[0] ?? "", mask)).current;
  const [text, setText] = useLinked("Fill", "text", first.text);
  const [topK, setTopK] = useLinked("Fill", "top_k", 8);
  const [whole, setWhole] = useLinked("Fill", "whole_words", true);
  const [joint, setJoint] = useLinked("Fill", "joint", false);
  // The word behind each mask, where a click put the mask; null for a mask that was typed.
  const hidden = useRef(text === first.text ? [first.word] : []);
  const [state, run] = useAnswers(about);
  const count = (one) => one.split(mask).length - 1;
  const align = (given) => {
    if (hidden.current.length !== count(given)) hidden.current = Array(count(given)).fill(null);
  };
  const type = (given) => {
    align(given);
    setText(given);
  };
  const fill = (given = text) => {
    align(given);
    run("fill", { text: given, top_k: topK, whole_words: whole, ...(joint ? { joint } : {}) }, { hidden: [...hidden.current] });
  };
  const change = (given, words) => {
    hidden.current = words;
    setText(given);
    if (given.includes(mask)) fill(given);
  };
  const take = (candidate, number) => change(candidate.text, hidden.current.filter((_, index) => index !== number));
  const takeExample = (example) => {
    const one = masked(example, mask);
    change(one.text, [one.word]);
  };
  useFirst(visible, () => { if (text.includes(mask)) fill(); });
  return html`<div>
    <p class="hint">${say("Click a word to mask it, or write {mask}; click a prediction to insert it.", { mask })}${
      about.task === "fill-mask" && origin(examples)}</p>
    <${Form} view="Fill" asked=${() => fill()} state=${state} label=${say("Fill")} disabled=${!text.trim()}
      fields=${html`<div><${Field} label=${say("Text")} value=${text} set=${type} />
        <${Words} text=${text} mask=${mask} hidden=${hidden.current} change=${change} /></div>`}>
      <${NumberField} label=${say("candidates")} value=${topK} set=${setTopK} min=${1} max=${100} />
      <${Check} label=${say("whole words")} value=${whole} set=${setWhole} />
      <${Check} label=${say("all masks together")} value=${joint} set=${setJoint} />
      <${Another} examples=${examples.texts} take=${takeExample} />
    <//>
    <${Sides} state=${state}>${(answer, kept) => answer.together
      ? html`<section class="card"><h2>${say("best fillings")}</h2><${Bars} label=${say("best fillings")}
          chosen=${(index) => change(answer.together[index].text, [])}
          rows=${answer.together.map((one) => ({ name: one.words.join(" · "), share: one.probability }))} /></section>`
      : html`<div><div class="cards">${answer.masks.map((candidates, number) => html`
          <section class="card" key=${number}>
            <h2>${answer.masks.length > 1 ? say("mask {number}", { number: number + 1 }) : say("predictions")}${
              kept.hidden[number] && html`<small> ${say("hidden: {word}", { word: kept.hidden[number] })}</small>`}</h2>
            <${Bars} label=${say("predictions")} chosen=${(index) => take(candidates[index], number)}
              rows=${candidates.map((one) => ({
                name: spelled(one), share: one.probability, right: same(one.word, kept.hidden[number]),
                note: same(one.word, kept.hidden[number]) ? "✓" : "",
              }))} />
          </section>`)}</div>
          ${answer.cut && html`<p class="hint">${say("The text was too long; the parts farthest from the masks were cut.")}</p>`}</div>`}<//>
  </div>`;
}

const same = (word, hidden) => !!hidden && word.trim().toLowerCase() === hidden.toLowerCase();
/* A piece of a word is shown as the vocabulary spells it, such as ##ing. */
const spelled = (one) => one.tokens.length === 1 && /^(##|@@)/.test(one.tokens[0]) ? one.tokens[0] : one.word;

export function origin(examples) {
  const known = { "held-out": "The text is from the model's held-out data.", training: "The text is from the model's training data.",
    card: "The text is from the model card." }[examples.origin];
  return known ? ` ${say(known)}` : "";
}

/* The text as buttons: a word is masked by a click, a mask that was made so is undone. */
function Words({ text, mask, hidden, change }) {
  const parts = text.split(mask);
  const before = (part) => parts.slice(0, part).join(mask).length + (part ? mask.length : 0);
  return html`<p class="words" aria-label=${say("words to mask")} role="group">${parts.map((part, number) => html`
    ${number > 0 && html`<button type="button" class="mask" aria-pressed="true" disabled=${!hidden[number - 1]}
      aria-label=${hidden[number - 1] ? say("put {word} back", { word: hidden[number - 1] }) : mask} onClick=${() => change(
        text.slice(0, before(number) - mask.length) + hidden[number - 1] + text.slice(before(number)),
        hidden.filter((_, index) => index !== number - 1))}>${hidden[number - 1] ?? mask}</button>`}
    ${segments(part).map((one) => one.isWord
      ? html`<button type="button" aria-pressed="false" aria-label=${say("mask {word}", { word: one.text })} onClick=${() => change(
          text.slice(0, before(number) + one.start) + mask + text.slice(before(number) + one.stop),
          [...hidden.slice(0, number), one.text, ...hidden.slice(number)])}>${one.text}</button>`
      : html`<span>${one.text}</span>`)}`)}</p>`;
}

const LEVELS = [-1, -3, -6, -10];
const levelOf = (value) => LEVELS.filter((level) => value < level).length;

/* The first example, and the same text with two neighbouring words swapped: the model should like it less. */
function swapped(text) {
  const words = segments(text).filter((one) => one.isWord);
  const middle = words.length / 2 - 1;
  const [at] = words.map((_, index) => index)
    .filter((index) => index + 1 < words.length && words[index].text !== words[index + 1].text
      && !text.slice(words[index].stop, words[index + 1].start).trim())
    .sort((one, other) => Math.abs(one - middle) - Math.abs(other - middle));
  if (at === undefined) return "";
  const [one, other] = [words[at], words[at + 1]];
  return text.slice(0, one.start) + other.text + text.slice(one.stop, other.start) + one.text + text.slice(other.stop);
}

export function Score({ about, examples, shown: visible }) {
  const [first, setFirst] = useLinked("Score", "first", examples.texts[0] ?? "");
  const [second, setSecond] = useLinked("Score", "second", swapped(examples.texts[0] ?? ""));
  const [state, run] = useAnswers(about);
  const texts = [first, second].filter((text) => text.trim());
  const score = (given = texts) => run("score", { text: given, per: "word", method: "within-word-l2r" });
  const takeExample = (example) => {
    setFirst(example);
    setSecond(swapped(example));
    score([example, swapped(example)].filter(Boolean));
  };
  useFirst(visible, () => { if (texts.length) score(); });
  return html`<div>
    <p class="hint">${say("Each word is hidden in turn, and the model gives the probability of the word that is there. Of two texts, the one with the higher sum is more probable.")}</p>
    <${Form} view="Score" asked=${() => score()} state=${state} label=${say("Score")} disabled=${!texts.length}
      fields=${html`<div class="two"><${Field} label=${say("Text A")} value=${first} set=${setFirst} rows="3" />
        <${Field} label=${say("Text B (may be empty)")} value=${second} set=${setSecond} rows="3" /></div>`}>
      <${Another} examples=${examples.texts} take=${takeExample} />
    <//>
    <${Sides} state=${state}>${(answer) => html`<div>
      ${answer.length === 2 && html`<${Difference} one=${answer[0]} other=${answer[1]} />`}
      ${answer.map((one, number) => html`<div key=${number} class="scored"><h2>${answer.length > 1 ? "AB"[number] : say("Score")}
        <span class="number">${say("log-probability {total}, {count} tokens, perplexity {perplexity} per token", {
          total: one.total.toFixed(2), count: one.num_tokens, perplexity: one.perplexity === null ? "–" : one.perplexity.toFixed(1) })}</span></h2>
        <${ScoredWords} found=${one} /></div>`)}
      <p class="legend">${say("log-probability of the word:")} ${["> −1", "−1 … −3", "−3 … −6", "−6 … −10", "< −10"].map((text, level) => html`
        <mark key=${level} class=${`l${level}`}>${text}</mark> `)}</p></div>`}<//>
  </div>`;
}

function Difference({ one, other }) {
  const difference = one.total - other.total;
  const times = Math.exp(Math.min(700, Math.abs(difference)));
  return html`<p class="card difference"><b>${Math.abs(difference) < 0.005 ? say("A and B are equally probable")
    : say("{which} is more probable", { which: difference > 0 ? "A" : "B" })}</b>
    <span class="number"> A − B = ${(Math.round(100 * difference) / 100 || 0).toFixed(2)}${Math.abs(difference) >= 0.005
      && `, ${say("a factor of {times}", { times: times < 1e4 ? times.toPrecision(3) : times.toExponential(1) })}`}</span></p>`;
}

/* The words in the letters of the text, each with its log-probability below. */
function ScoredWords({ found }) {
  const letters = [...found.text];
  const known = found.words.every((word) => word.start !== null && word.start !== undefined);
  let done = 0;
  return html`<p class="read numbered">${found.words.map((word, number) => {
    const before = known ? letters.slice(done, word.start).join("") : number ? " " : "";
    const own = known ? letters.slice(Math.max(done, word.start), word.stop).join("") : word.word;
    if (known) done = Math.max(done, word.stop);
    return html`${before}<mark key=${number} class=${`l${levelOf(word.log_probability)}`}>${own || word.word}<small>${
      word.log_probability.toFixed(1)}</small></mark>`;
  })}${known ? letters.slice(done).join("") : ""}</p>`;
}
