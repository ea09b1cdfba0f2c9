"use strict";
// The trace viewer: a list of examples, of which only the rows in sight exist, and the text of one of them,
// coloured by influence. Texts are only ever set as text.
(() => {
  const island = document.getElementById("traces-index");
  if (!island) return;
  const { index, groups, rules, of } = JSON.parse(island.textContent);
  const at = (id) => document.getElementById(id);
  const [list, rows, trace, status] = ["trace-list", "trace-rows", "trace-text", "trace-status"].map(at);
  const [search, sort, group, rule, level] =
    ["trace-search", "trace-sort", "trace-group", "trace-rule", "trace-level"].map(at);
  const ROW = 46; // pixels, as in the style sheet
  const LEVELS = 127;
  let shown = index.map((_, number) => number);
  let open = -1; // place in `shown`

  // ---- numbers and texts

  const number = (value) => {
    const size = Math.abs(value);
    const text =
      size && size < 1e-3 ? size.toExponential(1).replace("-", "−") : size.toLocaleString("en", { maximumSignificantDigits: 3 });
    return `${value > 0 ? "+" : value < 0 ? "−" : ""}${text}`;
  };
  const strength = (value, largest) => (largest ? Math.sign(value) * Math.sqrt(Math.abs(value) / largest) : 0);

  const chunks = new Map();
  const chunk = (which) => {
    if (!chunks.has(which)) {
      const packed = Uint8Array.from(atob(at(`traces-${which}`).textContent), (letter) => letter.charCodeAt(0));
      const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
      chunks.set(which, new Response(stream).json());
      if (chunks.size > 24) chunks.delete(chunks.keys().next().value);
    }
    return chunks.get(which);
  };
  const element = (name, kind, text) => {
    const made = document.createElement(name);
    if (kind) made.className = kind;
    if (text !== undefined) made.textContent = text;
    return made;
  };

  // ---- the list

  const draw = () => {
    const first = Math.max(0, Math.floor(list.scrollTop / ROW) - 5);
    const last = Math.min(shown.length, Math.ceil((list.scrollTop + list.clientHeight) / ROW) + 5);
    rows.style.height = `${shown.length * ROW}px`;
    rows.replaceChildren(
      ...shown.slice(first, last).map((which, offset) => {
        const entry = index[which];
        const row = element("div", "trace-row");
        row.style.top = `${(first + offset) * ROW}px`;
        row.dataset.place = first + offset;
        row.id = `trace-row-${first + offset}`;
        row.setAttribute("role", "option");
        row.setAttribute("aria-selected", String(first + offset === open));
        const value = entry.influence[group.value];
        row.append(
          element("span", `trace-value ${value < 0 ? "harmful" : "helpful"}`, number(value)),
          element("span", "trace-title", entry.title),
          element("span", "trace-about",
            `${entry.domain} · ${entry.band || "unrated"} · ${entry.source} · ${entry.tokens} tokens`),
        );
        return row;
      }),
    );
    list.setAttribute("aria-activedescendant", `trace-row-${open}`);
  };

  const SORTS = {
    helpful: (a, b) => b.influence[group.value] - a.influence[group.value],
    harmful: (a, b) => a.influence[group.value] - b.influence[group.value],
    strongest: (a, b) => Math.abs(b.influence[group.value]) - Math.abs(a.influence[group.value]),
    longest: (a, b) => b.tokens - a.tokens,
    shortest: (a, b) => a.tokens - b.tokens,
  };
  let asked = 0;
  const arrange = async () => {
    const mine = ++asked;
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    let found = index.map((_, which) => which);
    if (words.length) {
      const texts = await allTexts(() => mine === asked);
      if (mine !== asked) return;
      found = found.filter((which) => words.every((word) => texts[which].includes(word)));
    }
    found.sort((a, b) => SORTS[sort.value](index[a], index[b]) || a - b);
    shown = found;
    status.textContent = `${shown.length.toLocaleString("en")} of ${index.length.toLocaleString("en")} shown here`
      + `, of ${of.toLocaleString("en")} scored`;
    list.scrollTop = 0;
    await select(shown.length ? 0 : -1);
  };

  let texts;
  const allTexts = async (wanted) => {
    if (texts) return texts;
    const found = new Array(index.length);
    const members = Map.groupBy(index.keys(), (which) => index[which].chunk);
    for (const [which, those] of members) {
      if (!wanted()) return found;
      status.textContent = `reading texts, ${Math.round((100 * which) / members.size)} %`;
      const read = await chunk(which);
      for (const one of those) {
        const { id, domain, source, band } = index[one];
        const { prompt, response } = read[index[one].at];
        found[one] = [id, domain, source, band, prompt, response].join("\n").toLowerCase();
      }
    }
    texts = found;
    return texts;
  };

  // ---- one trace

  const select = async (place) => {
    open = place;
    if (place >= 0) {
      const top = place * ROW;
      if (top < list.scrollTop) list.scrollTop = top;
      if (top + ROW > list.scrollTop + list.clientHeight) list.scrollTop = top + ROW - list.clientHeight;
    }
    draw();
    if (place < 0) return trace.replaceChildren(element("p", "trace-about", "Nothing matches."));
    const entry = index[shown[place]];
    const read = (await chunk(entry.chunk))[entry.at];
    if (open === place) paint(entry, read);
  };

  const paint = (entry, read) => {
    const values = read.values[rule.value][group.value];
    const levels = Int8Array.from(atob(values.levels), (letter) => letter.charCodeAt(0) << 24 >> 24);
    const letters = Array.from(read.response); // lengths are of code points
    const byToken = level.value === "token";
    const perToken = read.spans.map(([start, stop], span) => values.spans[span] / Math.max(1, stop - start));
    const widest = Math.max(0, ...perToken.map(Math.abs));
    legend(byToken ? values.largest : widest, byToken ? "nats a token" : "nats a token, mean of its span");

    const head = element("p", "trace-about",
      `${entry.id} · ${entry.domain} · ${entry.source} · influence ${number(values.total)} nats`);
    const parts = [head, line("prompt", values.prompt, [read.prompt], "prompt")];
    let piece = 0;
    let letter = 0;
    read.spans.forEach(([start, stop, kind, does], span) => {
      const inside = [];
      for (; piece < stop; piece++) {
        const text = letters.slice(letter, letter + read.lengths[piece]).join("");
        letter += read.lengths[piece];
        if (byToken) {
          const share = levels[piece] / LEVELS;
          inside.push(coloured(text, share, Math.sign(share) * share * share * values.largest));
        } else inside.push(text);
      }
      const content = byToken
        ? inside
        : [coloured(inside.join(""), strength(perToken[span], widest), values.spans[span])];
      parts.push(line(does.replace("_", " "), values.spans[span], content, kind));
    });
    parts.push(line("end", values.end, ["end of text"], "end"));
    trace.replaceChildren(...parts);
    trace.scrollTop = 0;
  };

  const line = (label, value, content, kind) => {
    const made = element("div", `trace-line ${kind}`);
    const margin = element("div", "trace-margin");
    made.dataset.size = Math.abs(value);
    margin.append(element("span", `trace-value ${value < 0 ? "harmful" : "helpful"}`, number(value)));
    margin.append(element("span", "trace-label", label));
    const text = element("div", "trace-content");
    text.append(...content);
    made.append(margin, text);
    return made;
  };

  const coloured = (text, share, value) => {
    if (!share) return document.createTextNode(text);
    const made = element("span", `token ${share < 0 ? "harmful" : "helpful"}`, text);
    if (share < -0.5) made.classList.add("strongly");
    made.style.setProperty("--share", Math.abs(share).toFixed(2));
    made.dataset.said = `${number(Number(value.toPrecision(2)))} nats`;
    return made;
  };

  const legend = (largest, unit) => {
    at("trace-least").textContent = number(-largest);
    at("trace-most").textContent = number(largest);
    at("trace-unit").textContent = unit;
  };

  // ---- what a person does

  const cycle = (choice) => {
    choice.selectedIndex = (choice.selectedIndex + 1) % choice.options.length;
    choice.dispatchEvent(new Event("change"));
  };
  const strongest = (step) => {
    [...trace.querySelectorAll(".trace-line")]
      .sort((a, b) => b.dataset.size - a.dataset.size)
      .slice(0, 10)
      .forEach((made) => { made.dataset.ranked = ""; });
    const marked = [...trace.querySelectorAll("[data-ranked]")];
    if (!marked.length) return;
    const now = marked.findIndex((made) => made.classList.contains("current"));
    const next = marked[now < 0 && step < 0 ? marked.length - 1 : (now + step + marked.length) % marked.length];
    marked.forEach((made) => made.classList.toggle("current", made === next));
    next.scrollIntoView({ block: "center" });
  };
  const KEYS = {
    j: () => select(Math.min(open + 1, shown.length - 1)),
    ArrowDown: () => select(Math.min(open + 1, shown.length - 1)),
    k: () => select(Math.max(open - 1, 0)),
    ArrowUp: () => select(Math.max(open - 1, 0)),
    g: () => cycle(group),
    r: () => cycle(rule),
    t: () => cycle(level),
    n: () => strongest(1),
    p: () => strongest(-1),
    "/": () => search.focus(),
  };
  at("traces").addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target === search) {
      if (event.key === "Escape") list.focus();
      return;
    }
    if (event.target.tagName === "SELECT" && event.key.startsWith("Arrow")) return;
    const act = KEYS[event.key];
    if (!act) return;
    event.preventDefault();
    act();
  });
  list.addEventListener("scroll", draw);
  list.addEventListener("click", (event) => {
    const row = event.target.closest(".trace-row");
    if (row) select(Number(row.dataset.place));
  });
  let pause;
  search.addEventListener("input", () => { clearTimeout(pause); pause = setTimeout(arrange, 150); });
  sort.addEventListener("change", arrange);
  group.addEventListener("change", arrange);
  for (const choice of [rule, level]) choice.addEventListener("change", () => select(open));
  at("trace-colours").addEventListener("change", (event) => {
    at("traces").dataset.colours = event.target.value;
  });
  new ResizeObserver(draw).observe(list);

  groups.forEach((name, which) => group.add(new Option(name, which)));
  rules.forEach((name, which) => rule.add(new Option(name, which)));
  rule.closest("label").hidden = rules.length < 2;
  arrange();
})();
