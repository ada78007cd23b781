/* View of attention: small pictures of all heads, and one head over the words of the text. */
import { html, useEffect, useMemo, useRef, useState } from "./vendor/htm-preact.js";
import { ask, curl, modelsOf, useFirst, useLinked } from "./asking.js";
import { Another, Bars, Field, Form, Select, shown } from "./parts.js";
import { say } from "./words.js";

/* What a head may do: the names are those of the statistics that the server sends. */
const HABITS = [["", "all heads"], ["before", "previous token"], ["after", "next token"], ["itself", "same token"],
  ["first", "first token"], ["last", "last token"], ["narrow", "few tokens"], ["broad", "many tokens"]];

/* Whether a head is one of those that do most of something: above half of the attention, or in the outer fifth. */
function chosenBy(habit, heads) {
  if (!habit) return null;
  if (habit === "narrow" || habit === "broad") {
    const sorted = heads.map((one) => one.entropy).sort((one, other) => one - other);
    const narrow = sorted[Math.floor(0.2 * (sorted.length - 1))];
    const broad = sorted[Math.ceil(0.8 * (sorted.length - 1))];
    return heads.map((one) => habit === "narrow" ? one.entropy <= narrow : one.entropy >= broad);
  }
  return heads.map((one) => one[habit] >= 0.4);
}

export function Attention({ about, examples, shown: visible }) {
  const [text, setText] = useLinked("Attention", "text", examples.texts[0] ?? examples.pairs[0]?.[0] ?? examples.questions[0]?.question ?? "");
  const [layer, setLayer] = useLinked("Attention", "layer", "0");
  const [head, setHead] = useLinked("Attention", "head", "mean");
  const [model, setModel] = useLinked("Attention", "model", "");
  const [habit, setHabit] = useLinked("Attention", "heads", "");
  const [state, set] = useState({});
  // Answers for this text, by head: a second look at a head needs no request.
  const cache = useRef(new Map());
  const number = useRef(0);
  const ofHead = (one) => one === "mean" ? "mean" : +one;
  const look = async (given = text, at = [layer, head], base = model) => {
    const own = ++number.current;
    const body = { text: given, layer: ofHead(at[0]), head: ofHead(at[1]) };
    const key = base + JSON.stringify(body);
    set((old) => ({ ...old, busy: true, problem: null, command: curl(`${base}attention`, body) }));
    try {
      if (!cache.current.has(key)) {
        const answer = await ask(`${base}attention`, body);
        if (cache.current.size > 200) cache.current.clear();
        cache.current.set(key, answer);
      }
      if (own === number.current) set((old) => ({ command: old.command, answer: cache.current.get(key), at, text: given }));
    } catch (error) {
      if (own === number.current) set((old) => ({ command: old.command, problem: error.message }));
    }
  };
  const choose = (toLayer, toHead) => {
    setLayer(String(toLayer));
    setHead(String(toHead));
    if (state.answer) look(state.text, [String(toLayer), String(toHead)]);
  };
  useFirst(visible, () => { if (text.trim()) look(); });
  const count = (size) => [["mean", say("average")], ...Array.from({ length: size }, (_, index) => [String(index), String(index)])];
  const answer = state.answer;
  const [layers, heads] = answer ? [answer.overview.length, answer.overview[0].length] : [about.num_layers, about.num_heads];
  const models = modelsOf(about);
  return html`<div>
    <p class="hint">${say("How much each token draws from each other token, in one head or on average. Choose a token of the text to see where its attention goes, and where attention to it comes from.")}</p>
    <${Form} view="Attention" asked=${() => look()} state=${state} label=${say("Show")} disabled=${!text.trim()}
      fields=${html`<${Field} label=${say("Text")} value=${text} set=${setText} />`}>
      <${Select} label=${say("layer")} value=${layer} set=${(one) => choose(one, head)} options=${count(layers)} />
      <${Select} label=${say("head")} value=${head} set=${(one) => choose(layer, one)} options=${count(heads)} />
      <${Select} label=${say("highlight heads that look at")} value=${habit} set=${setHabit} options=${HABITS.map(([one, name]) => [one, say(name)])} />
      ${models.length > 1 && html`<${Select} label=${say("model")} value=${model} options=${models.map(({ name, base }) => [base, name])}
        set=${(base) => { setModel(base); look(text, [layer, head], base); }} />`}
      <${Another} examples=${examples.texts} take=${(one) => { setText(one); look(one); }} />
    <//>
    ${answer && html`<div class="looks" aria-busy=${!!state.busy}>
      <${Overview} answer=${answer} at=${[layer, head]} choose=${choose} habit=${habit} />
      <${Words} key=${state.text} tokens=${answer.tokens} weights=${answer.weights} at=${state.at} />
    </div>
    ${answer.cut && html`<p class="hint">${say("The text was too long; its end was cut.")}</p>`}`}
  </div>`;
}

const nameOf = ([layer, head]) => [
  layer === "mean" ? say("average of the layers") : say("layer {number}", { number: layer }),
  head === "mean" ? say("average of the heads") : say("head {number}", { number: head }),
].join(", ");

/* Small pictures of all heads, a row per layer. One tab stop; arrow keys move, and choose. */
function Overview({ answer, at, choose, habit }) {
  const [layers, heads] = [answer.overview.length, answer.overview[0].length];
  const place = useRef(null);
  const included = useMemo(() => chosenBy(habit, answer.heads), [habit, answer]);
  const current = at.includes("mean") ? null : [+at[0], +at[1]];
  const stop = current ?? [at[0] === "mean" ? 0 : +at[0], at[1] === "mean" ? 0 : +at[1]];
  const keys = (event) => {
    const step = { ArrowRight: [0, 1], ArrowLeft: [0, -1], ArrowDown: [1, 0], ArrowUp: [-1, 0] }[event.key];
    if (!step) return;
    event.preventDefault();
    const [layer, head] = [(stop[0] + step[0] + layers) % layers, (stop[1] + step[1] + heads) % heads];
    choose(layer, head);
    place.current.querySelectorAll("button")[layer * heads + head].focus();
  };
  return html`<section class="overview" aria-label=${say("all heads")}>
    <h2>${say("all heads")} <small>${say("rows: layers, columns: heads")}</small></h2>
    <div class="scroll" tabIndex="-1"><div class="grid" role="radiogroup" aria-label=${say("heads")} ref=${place} onKeyDown=${keys}
      style=${{ gridTemplateColumns: `repeat(${heads}, minmax(24px, 46px))` }}>
      ${answer.overview.flatMap((row, layer) => row.map((weights, head) => {
        const on = current && current[0] === layer && current[1] === head;
        return html`<button type="button" key=${`${layer} ${head}`} role="radio" aria-checked=${!!on} aria-label=${nameOf([layer, head])}
          title=${nameOf([layer, head])} class=${included && !included[layer * heads + head] ? "dim" : ""}
          tabIndex=${stop[0] === layer && stop[1] === head ? 0 : -1} onClick=${() => choose(layer, head)}><${Picture} weights=${weights} /></button>`;
      }))}</div></div>
    ${habit && html`<p class="hint" role="status">${say("{count} of {all} heads", { count: included.filter(Boolean).length, all: included.length })}</p>`}
  </section>`;
}

function ink() {
  const probe = getComputedStyle(document.querySelector("main")).getPropertyValue("accent-color");
  return (probe.match(/\d+/g) ?? [47, 95, 208]).slice(0, 3).map(Number);
}

/* Calls `draw` now, and again when the colours change. */
function useColours(draw, when) {
  useEffect(() => {
    draw();
    const theme = new MutationObserver(draw);
    theme.observe(document.documentElement, { attributes: true, attributeFilter: ["data-theme"] });
    const system = matchMedia("(prefers-color-scheme: dark)");
    system.addEventListener("change", draw);
    return () => {
      theme.disconnect();
      system.removeEventListener("change", draw);
    };
  }, when);
}

function paint(canvas, weights, strength) {
  const size = weights.length;
  canvas.width = canvas.height = size;
  const pixels = canvas.getContext("2d").createImageData(size, size);
  const colour = ink();
  weights.forEach((row, from) => row.forEach((weight, to) =>
    pixels.data.set([...colour, 255 * Math.min(1, strength * weight)], 4 * (from * size + to))));
  canvas.getContext("2d").putImageData(pixels, 0, 0);
}

function Picture({ weights }) {
  const ref = useRef(null);
  useColours(() => paint(ref.current, weights, 1.5), [weights]);
  return html`<canvas ref=${ref} aria-hidden="true" />`;
}

const clean = (token) => token.replace(/^(Ġ|▁)/, "") || token;
const STRONGEST = 12;

/* The words, coloured by the attention from, or to, the chosen one; the strongest as a list; and the map. */
function Words({ tokens, weights, at }) {
  const [chosen, choose] = useState(Math.min(1, tokens.length - 1));
  const [to, setTo] = useState("from");
  const place = useRef(null);
  const values = tokens.map((_, index) => to === "from" ? weights[chosen][index] : weights[index][chosen]);
  const most = Math.max(...values, 1e-6);
  const level = (value) => Math.min(9, Math.floor(10 * value / most));
  const strongest = values.map((value, index) => ({ value, index })).sort((one, other) => other.value - one.value).slice(0, STRONGEST);
  const keys = (event) => {
    const next = { ArrowRight: chosen + 1, ArrowLeft: chosen - 1, Home: 0, End: tokens.length - 1 }[event.key];
    if (next === undefined || next < 0 || next >= tokens.length) return;
    event.preventDefault();
    choose(next);
    place.current.querySelectorAll("button")[next].focus();
  };
  return html`<section class="over" aria-label=${nameOf(at)}>
    <h2>${nameOf(at)}</h2>
    <div class="row"><${Select} label=${say("attention")} value=${to} set=${setTo}
      options=${[["from", say("from the chosen token")], ["to", say("to the chosen token")]]} /></div>
    <div class="tokens" role="radiogroup" aria-label=${say("tokens")} ref=${place} onKeyDown=${keys}>${tokens.map((token, index) => html`
      <button type="button" key=${index} role="radio" aria-checked=${index === chosen} tabIndex=${index === chosen ? 0 : -1}
        class=${`w${level(values[index])} ${/^##/.test(token) ? "joined" : ""}`} onClick=${() => choose(index)}>${clean(token)}</button>`)}</div>
    <${Bars} label=${say("strongest")} chosen=${(row) => choose(strongest[row].index)}
      rows=${strongest.map(({ value, index }) => ({ name: `${clean(tokens[index])}`, note: `${index}`, share: value, text: shown(value) }))} />
    <${WholeMap} tokens=${tokens} weights=${weights} chosen=${chosen} choose=${choose} />
  </section>`;
}

/* The whole map of the head; a click chooses the token of the row. */
function WholeMap({ tokens, weights, chosen, choose }) {
  const ref = useRef(null);
  const draw = () => {
    paint(ref.current, weights, 1.5);
    const context = ref.current.getContext("2d");
    context.fillStyle = `rgba(${ink().join(",")}, 0.25)`;
    context.fillRect(0, chosen, tokens.length, 1);
  };
  useColours(draw, [weights, chosen]);
  const click = (event) => {
    const box = ref.current.getBoundingClientRect();
    choose(Math.max(0, Math.min(tokens.length - 1, Math.floor(tokens.length * (event.clientY - box.top) / box.height))));
  };
  return html`<figure><canvas class="map" ref=${ref} role="img" aria-label=${say("attention map")} onClick=${click} />
    <figcaption class="hint">${say("rows: from, columns: to; click a row to choose its token")}</figcaption></figure>`;
}
