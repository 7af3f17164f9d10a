"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const $ = (id) => document.getElementById(id);
  const make = (tag, kind, text) => {
    const node = document.createElement(tag);
    if (kind) node.className = kind;
    if (text !== undefined) node.textContent = text;
    return node;
  };
  const later = (task, wait) => { let timer; return () => { clearTimeout(timer); timer = setTimeout(task, wait); }; };

  // ------------------------------------------------------------------ pictures and the table of all images
  const PAGE = 100, FIRST_CARDS = 12;
  const cards = [...document.querySelectorAll(".card")];
  const search = $("search"), found = $("found"), body = $("rows"), moreRows = $("more-rows"), moreCards = $("more-cards");
  let words = [], allCards = cards.length <= FIRST_CARDS, shownRows = PAGE, sorted = { column: "rank", down: false };
  const matches = (text) => words.every((word) => text.includes(word));
  const plural = (n, what) => n.toLocaleString("en") + " " + what + (n === 1 ? "" : "s");

  const showCards = () => {
    let count = 0;
    const fit = cards.filter((card) => matches(card.dataset.text));
    for (const card of cards) card.hidden = true;
    for (const card of fit) {
      const waits = !allCards && count >= FIRST_CARDS;
      card.hidden = waits;
      card.toggleAttribute("data-later", waits);
      count += 1;
    }
    if (moreCards) {
      moreCards.hidden = allCards || fit.length <= FIRST_CARDS;
      moreCards.querySelector("button").textContent = "Show " + plural(fit.length - FIRST_CARDS, "more picture");
    }
    return fit.length;
  };

  const cell = (column, value) => {
    const td = make("td", column.kind === "text" ? "name" : "n");
    if (value === null) td.append("–");
    else if (column.kind === "share") td.append(value > 0 && value < 0.0005 ? "< 0.1 %" : (100 * value).toFixed(1) + " %");
    else if (column.kind === "text") td.append(value);
    else if (column.kind === "ratio") td.append(value.toFixed(2) + " ×");
    else td.append(value.toLocaleString("en", { maximumSignificantDigits: column.digits || 21 }));
    return td;
  };

  const order = () => {
    const at = data.columns.findIndex((column) => column.id === sorted.column);
    const way = sorted.down ? -1 : 1;
    return data.images.map((row, i) => i).sort((a, b) => {
      const x = data.images[a][at], y = data.images[b][at];
      if (x === null || y === null) return (x === null) - (y === null) || a - b; // what is missing comes last
      const less = typeof x === "string" ? x.localeCompare(y, "en") : x - y;
      return way * less || a - b;
    });
  };

  const showRows = () => {
    if (!body) return 0;
    const name = data.columns.findIndex((column) => column.kind === "text");
    const fit = order().filter((i) => matches(data.texts[i]));
    body.replaceChildren(...fit.slice(0, shownRows).map((i) => {
      const row = make("tr");
      data.columns.forEach((column, c) => {
        const td = cell(column, data.images[i][c]);
        if (c === name && data.links[i]) {
          const link = make("a", "", data.images[i][c]);
          link.href = "#" + encodeURIComponent(data.links[i]);
          td.replaceChildren(link);
        }
        row.append(td);
      });
      return row;
    }));
    moreRows.hidden = fit.length <= shownRows;
    moreRows.querySelector("button").textContent = "Show " + plural(Math.min(PAGE, fit.length - shownRows), "more row");
    return fit.length;
  };

  const refresh = () => {
    const pictures = showCards(), rows = showRows();
    if (found) found.textContent = words.length
      ? plural(rows, "image") + " found, " + plural(pictures, "picture")
      : plural(rows, "image") + ", " + plural(pictures, "picture");
  };
  if (search) search.addEventListener("input", later(() => {
    words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    shownRows = PAGE;
    refresh();
  }, 80));
  if (moreCards) moreCards.addEventListener("click", () => { allCards = true; refresh(); });
  if (moreRows) moreRows.addEventListener("click", () => { shownRows += PAGE; refresh(); });

  const heads = [...document.querySelectorAll("#images th")];
  heads.forEach((head, c) => head.querySelector("button").addEventListener("click", () => {
    const column = data.columns[c].id;
    const downFirst = data.columns[c].kind !== "text" && column !== "rank";
    sorted = { column, down: sorted.column === column ? !sorted.down : downFirst };
    heads.forEach((other) => other.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", sorted.down ? "descending" : "ascending");
    shownRows = PAGE;
    refresh();
  }));
  const follow = () => {
    const card = location.hash.startsWith("#i-") && $(decodeURIComponent(location.hash.slice(1)));
    if (!card || !card.hidden) return;
    allCards = true;
    if (!matches(card.dataset.text)) { words = []; search.value = ""; }
    refresh();
    card.scrollIntoView();
  };
  addEventListener("hashchange", follow);
  refresh();
  follow();

  // ------------------------------------------------------------------ segments, cut at any level
  const STEPS = 253, INVALID = 255;
  const pixelsOf = async (address) => {
    const image = new Image();
    image.src = address;
    await image.decode();
    const canvas = document.createElement("canvas");
    canvas.width = image.naturalWidth;
    canvas.height = image.naturalHeight;
    const context = canvas.getContext("2d", { willReadFrequently: true });
    context.drawImage(image, 0, 0);
    return context.getImageData(0, 0, canvas.width, canvas.height);
  };
  const cutAt = (contours, colors, step) => { // parts between boundaries that are left, each in its mean colour
    const { width, height, data: steps } = contours, count = width * height;
    const parent = new Int32Array(count);
    for (let i = 0; i < count; i++) parent[i] = i;
    const root = (i) => { while (parent[i] !== i) i = parent[i] = parent[parent[i]]; return i; };
    for (let i = 0; i < count; i++) {
      if (steps[4 * i] === INVALID) continue;
      if ((i + 1) % width && steps[4 * i] <= step) parent[root(i + 1)] = root(i);
      if (i + width < count && steps[4 * i + 1] <= step) parent[root(i + width)] = root(i);
    }
    const sums = new Float64Array(4 * count), painted = new ImageData(width, height);
    for (let i = 0; i < count; i++) {
      const at = 4 * root(i), weight = colors.data[4 * i + 3] / 255;
      for (let c = 0; c < 3; c++) sums[at + c] += colors.data[4 * i + c] * weight;
      sums[at + 3] += weight;
    }
    for (let i = 0; i < count; i++) {
      if (steps[4 * i] === INVALID) continue;
      const at = 4 * root(i);
      for (let c = 0; c < 3; c++) painted.data[4 * i + c] = sums[at + 3] ? sums[at + c] / sums[at + 3] : 0;
      painted.data[4 * i + 3] = 255;
    }
    return painted;
  };
  document.querySelectorAll(".hierarchy").forEach((figure) => {
    const image = figure.querySelector("img"), text = figure.querySelector("figcaption span"), stored = text.textContent;
    const first = image.src, others = [...figure.parentElement.querySelectorAll("figure:not(.hierarchy) img")];
    const slider = make("input", "level");
    slider.type = "range";
    slider.min = 0;
    slider.max = STEPS;
    slider.value = figure.dataset.step;
    slider.setAttribute("aria-label", "Level of the segments: left the finest, right one segment");
    const named = (step) => Object.keys(data.levels).find((name) => data.levels[name] === step) || (step / STEPS).toFixed(2);
    let read = null;
    slider.addEventListener("input", later(async () => {
      const step = Number(slider.value);
      if (step === Number(figure.dataset.step)) {
        image.src = first;
        text.textContent = stored;
        return;
      }
      read = read || Promise.all([pixelsOf(figure.dataset.contours), pixelsOf(others.length ? others[0].src : first)]);
      const [contours, colors] = await read;
      const canvas = document.createElement("canvas");
      canvas.width = contours.width;
      canvas.height = contours.height;
      canvas.getContext("2d").putImageData(cutAt(contours, colors, step), 0, 0);
      image.src = canvas.toDataURL();
      text.textContent = "level " + named(step);
    }, 15));
    figure.querySelector("figcaption").append(slider);
  });

  // ------------------------------------------------------------------ the colours in space, to be turned by hand
  const canvas = $("cloud"), cloud = data.cloud;
  if (!canvas || !cloud) return;
  const context = canvas.getContext("2d");
  const count = cloud.points.length / 3;
  const start = { turn: -0.45, tilt: 0.4, zoom: 1 };
  let view = { ...start }, own = false, only = new Set();
  const sequence = new Uint32Array(count), depth = new Float32Array(count), sx = new Float32Array(count), sy = new Float32Array(count);
  const hex = (r, g, b) => "#" + [r, g, b].map((v) => v.toString(16).padStart(2, "0")).join("");
  const paints = cloud.colors.map((c) => hex(...c));
  const owns = Array.from({ length: count }, (_, i) => hex(cloud.points[3 * i], cloud.points[3 * i + 1], cloud.points[3 * i + 2]));
  const EDGES = [];
  const AXES = [ // where each is drawn: from, to, and its name beside it
    [[0, 0, 0], [255, 0, 0], [128, -22, -22]],
    [[255, 0, 0], [255, 255, 0], [285, 128, -18]],
    [[0, 0, 0], [0, 0, 255], [-24, -12, 140]],
  ];
  const ink = () => getComputedStyle(document.documentElement);

  const projector = (width, height) => {
    const size = Math.min(width, height * 1.2) * 0.48 * view.zoom;
    const ct = Math.cos(view.turn), st = Math.sin(view.turn), cl = Math.cos(view.tilt), sl = Math.sin(view.tilt);
    return (r, g, b) => { // red to the right, green away, blue upwards
      const x = r / 255 - 0.5, y = g / 255 - 0.5, z = b / 255 - 0.5;
      const across = x * ct - y * st, away = x * st + y * ct;
      const up = z * cl + away * sl, far = away * cl - z * sl;
      const near = 1 / (1 + far * 0.28);
      return [width / 2 + across * size * near, height / 2 - up * size * near, far];
    };
  };

  const draw = () => {
    const ratio = devicePixelRatio || 1, width = canvas.clientWidth, height = canvas.clientHeight;
    if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
      canvas.width = Math.round(width * ratio);
      canvas.height = Math.round(height * ratio);
    }
    const style = ink(), place = projector(width, height);
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, width, height);
    context.strokeStyle = style.getPropertyValue("--hatch");
    context.lineWidth = 1;
    context.beginPath();
    for (const [a, b] of EDGES) {
      const [x1, y1] = place(...a), [x2, y2] = place(...b);
      context.moveTo(x1, y1);
      context.lineTo(x2, y2);
    }
    context.stroke();
    const texts = [];
    cloud.axes.forEach((name, axis) => {
      const [from, to, beside] = AXES[axis];
      const [x, y] = place(...beside);
      context.beginPath();
      context.moveTo(...place(...from).slice(0, 2));
      context.lineTo(...place(...to).slice(0, 2));
      context.strokeStyle = style.getPropertyValue("--soft");
      context.lineWidth = 1.6;
      context.stroke();
      texts.push([name + " →", x, y]);
    });
    for (let i = 0; i < count; i++) {
      const [x, y, far] = place(cloud.points[3 * i], cloud.points[3 * i + 1], cloud.points[3 * i + 2]);
      sx[i] = x; sy[i] = y; depth[i] = far; sequence[i] = i;
    }
    sequence.sort((a, b) => depth[b] - depth[a]);
    const halo = style.getPropertyValue("--halo"), dot = Math.max(1.5, Math.min(width, height) / 210) * Math.sqrt(view.zoom);
    context.lineWidth = 0.6;
    context.strokeStyle = halo;
    for (const i of sequence) {
      const label = cloud.labels[i];
      if (only.size && !only.has(label)) continue;
      context.beginPath();
      context.arc(sx[i], sy[i], dot * (1 - depth[i] * 0.35), 0, 6.2832);
      context.fillStyle = own ? owns[i] : paints[label];
      context.fill();
      context.stroke();
    }
    context.textAlign = "center";
    context.font = "600 12px system-ui, sans-serif";
    context.lineWidth = 3;
    context.strokeStyle = style.getPropertyValue("--space");
    context.fillStyle = style.getPropertyValue("--ink");
    for (const [name, x, y] of texts) {
      const at = [Math.min(Math.max(x, 30), width - 30), Math.min(Math.max(y, 14), height - 6)];
      context.strokeText(name, ...at);
      context.fillText(name, ...at);
    }
    if (cloud.numbered) cloud.colors.map((c, j) => [j, ...place(...c)]).sort((a, b) => b[3] - a[3]).forEach(([j, x, y]) => {
      if (only.size && !only.has(j)) return;
      context.beginPath();
      context.arc(x, y, 11, 0, 6.2832);
      context.fillStyle = paints[j];
      context.fill();
      context.lineWidth = 2;
      context.strokeStyle = cloud.inks[j];
      context.stroke();
      context.fillStyle = cloud.inks[j];
      context.font = "600 11px system-ui, sans-serif";
      context.fillText(String(j), x, y + 4);
    });
  };
  for (const a of [0, 255]) for (const b of [0, 255]) {
    EDGES.push([[0, a, b], [255, a, b]], [[a, 0, b], [a, 255, b]], [[a, b, 0], [a, b, 255]]);
  }
  let waiting = false;
  const redraw = () => { if (!waiting) { waiting = true; requestAnimationFrame(() => { waiting = false; draw(); }); } };
  const turnBy = (turn, tilt) => {
    view.turn += turn;
    view.tilt = Math.min(1.57, Math.max(-1.57, view.tilt + tilt));
    canvas.dataset.turn = view.turn.toFixed(3);
    redraw();
  };
  const zoomBy = (factor) => { view.zoom = Math.min(6, Math.max(0.5, view.zoom * factor)); redraw(); };

  let held = null;
  canvas.addEventListener("pointerdown", (event) => { held = [event.clientX, event.clientY]; canvas.setPointerCapture(event.pointerId); });
  canvas.addEventListener("pointermove", (event) => {
    if (!held) return;
    turnBy((event.clientX - held[0]) * 0.009, (event.clientY - held[1]) * 0.009);
    held = [event.clientX, event.clientY];
  });
  for (const end of ["pointerup", "pointercancel"]) canvas.addEventListener(end, () => { held = null; });
  canvas.addEventListener("wheel", (event) => {
    if (!event.ctrlKey) return; // the wheel alone scrolls the page
    event.preventDefault();
    zoomBy(event.deltaY < 0 ? 1.1 : 1 / 1.1);
  }, { passive: false });
  canvas.addEventListener("keydown", (event) => {
    const keys = {
      ArrowLeft: () => turnBy(-0.12, 0), ArrowRight: () => turnBy(0.12, 0), ArrowUp: () => turnBy(0, 0.12),
      ArrowDown: () => turnBy(0, -0.12), "+": () => zoomBy(1.15), "=": () => zoomBy(1.15), "-": () => zoomBy(1 / 1.15),
      0: () => { view = { ...start }; turnBy(0, 0); },
    };
    if (!keys[event.key] || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    keys[event.key]();
  });
  document.querySelectorAll("[data-cluster]").forEach((button) => button.addEventListener("click", () => {
    const j = Number(button.dataset.cluster), on = !only.has(j);
    if (on) only.add(j); else only.delete(j);
    button.setAttribute("aria-pressed", String(on));
    redraw();
  }));
  document.querySelectorAll("input[name=paint]").forEach((input) => input.addEventListener("change", () => {
    own = input.value === "own";
    redraw();
  }));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
  new ResizeObserver(redraw).observe(canvas);
})();
