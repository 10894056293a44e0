"use strict";
// Without this script the page is complete: it only adds tooltips, and hides series on request.
for (const figure of document.querySelectorAll("figure.plot")) {
  const svg = figure.querySelector("svg");
  const picture = figure.querySelector(".picture");
  const rows = [...figure.querySelectorAll("tbody tr")];
  const places = rows.map((row) => Number(row.dataset.x));
  const heads = [...figure.querySelectorAll("thead th")].map((head) => head.textContent);
  const keys = [...figure.querySelectorAll(".key")];
  const view = svg.viewBox.baseVal;
  let tip = null;
  let cursor = null;

  for (const key of keys) {
    key.addEventListener("click", () => {
      const shown = key.getAttribute("aria-pressed") !== "true";
      key.setAttribute("aria-pressed", String(shown));
      svg.querySelector(`g[data-series="${key.dataset.series}"]`).style.display = shown ? "" : "none";
    });
  }

  // The row whose place is nearest; places ascend.
  const nearest = (x) => {
    let low = 0;
    let high = places.length - 1;
    while (high - low > 1) {
      const middle = (low + high) >> 1;
      if (places[middle] < x) low = middle; else high = middle;
    }
    return x - places[low] < places[high] - x ? low : high;
  };

  const show = (event) => {
    if (rows.length === 0) return;
    const box = svg.getBoundingClientRect();
    const scale = box.width / view.width;
    const index = nearest((event.clientX - box.left) / scale);
    if (!tip) {
      tip = picture.appendChild(document.createElement("div"));
      tip.className = "tip";
      cursor = svg.appendChild(document.createElementNS(svg.namespaceURI, "line"));
      cursor.setAttribute("class", "cursor");
      cursor.setAttribute("y1", "10");
      cursor.setAttribute("y2", String(view.height - 28));
    }
    cursor.setAttribute("x1", String(places[index]));
    cursor.setAttribute("x2", String(places[index]));
    const table = document.createElement("table");
    [...rows[index].cells].forEach((cell, at) => {
      if (at > 0 && keys[at - 1].getAttribute("aria-pressed") !== "true") return;
      const row = table.insertRow();
      const head = row.appendChild(document.createElement("th"));
      head.textContent = heads[at];
      row.insertCell().textContent = cell.textContent;
    });
    tip.replaceChildren(table);
    const x = places[index] * scale;
    const left = x + 14 + tip.offsetWidth > box.width ? x - 14 - tip.offsetWidth : x + 14;
    tip.style.left = `${Math.max(0, left)}px`;
  };
  const hide = () => {
    tip?.remove();
    cursor?.remove();
    tip = cursor = null;
  };
  svg.addEventListener("pointermove", show);
  svg.addEventListener("pointerdown", show);
  svg.addEventListener("pointerleave", hide);
}
