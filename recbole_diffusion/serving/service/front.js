"use strict";
(() => {
  const at = (id) => document.getElementById(id);
  const form = at("request");
  let models = [];

  // All that others wrote goes through here: text stays text.
  function made(name, text, attributes = {}) {
    const element = document.createElement(name);
    element.textContent = text;
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    return element;
  }

  function tell(text, isProblem = false) {
    at("told").textContent = text;
    at("told").classList.toggle("problem", isProblem);
  }

  const chosen = () => models.find((model) => model.name === at("model").value);
  const isHistory = () => new FormData(form).get("by") === "history";

  function showColumns() {
    const boxes = chosen().columns.map((column, place) => {
      const label = made("label", "");
      const box = made("input", "", { type: "checkbox", value: column });
      box.checked = place === 0;
      label.append(box, column);
      return label;
    });
    at("columns").replaceChildren(at("columns").firstElementChild, ...boxes);
    at("columns").hidden = !boxes.length;
  }

  function request() {
    const ids = at("ids").value.split("\n").map((id) => id.trim()).filter(Boolean);
    const columns = [...at("columns").querySelectorAll("input:checked")].map((box) => box.value);
    const who = isHistory() ? { histories: { "This history": ids } } : { users: ids };
    return { model: chosen().name, k: Number(at("k").value), columns, ...who };
  }

  function picture(model, entry) {
    const place = new URLSearchParams({ model: model.name, item: entry.item });
    const image = made("img", "", { src: `picture?${place}`, alt: "", loading: "lazy" });
    image.addEventListener("error", () => { image.hidden = true; });
    const cell = made("td", "");
    cell.append(image);
    return cell;
  }

  function row(model, columns, entry) {
    const line = made("tr", "");
    if (model.has_pictures) line.append(picture(model, entry));
    line.append(made("th", entry.item, { scope: "row" }));
    line.append(...columns.map((column) => made("td", entry.columns[column])));
    line.append(made("td", entry.score.toPrecision(4), { class: "number" }));
    return line;
  }

  function table(model, columns, list) {
    const head = made("tr", "");
    const names = [...(model.has_pictures ? ["picture"] : []), "item", ...columns];
    head.append(...names.map((name) => made("th", name, { scope: "col" })));
    head.append(made("th", "score", { scope: "col", class: "number" }));
    const [top, body] = [made("thead", ""), made("tbody", "")];
    top.append(head);
    body.append(...list.items.map((entry) => row(model, columns, entry)));
    const whole = made("table", "", { class: "results" });
    whole.append(made("caption", list.user), top, body);
    return whole;
  }

  function unknown(answer) {
    const told = [["users", answer.unknown_users], ["items", answer.unknown_items]]
      .filter(([, ids]) => ids.count)
      .map(([kind, ids]) => `Not in the data, ${kind}: ${ids.ids.join(", ")}.`);
    return told.join(" ") || `${answer.lists.length === 1 ? "One list" : `${answer.lists.length} lists`}.`;
  }

  async function answered(path, options) {
    const response = await fetch(path, options);
    const answer = await response.json();
    if (!response.ok) throw new Error(answer.detail);
    return answer;
  }

  async function recommend(event) {
    event.preventDefault();
    const [button, asked, model] = [form.querySelector("button"), request(), chosen()];
    button.disabled = true;
    tell("...");
    try {
      const answer = await answered("recommend", {
        method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(asked),
      });
      at("lists").replaceChildren(...answer.lists.map((list) => table(model, asked.columns, list)));
      tell(unknown(answer));
    } catch (error) {
      at("lists").replaceChildren();
      tell(error.message, true);
    } finally {
      button.disabled = false;
    }
  }

  async function start() {
    models = (await answered("health")).models;
    at("model").replaceChildren(...models.map((model) => made("option", model.name, { value: model.name })));
    showColumns();
    at("model").addEventListener("change", showColumns);
    form.addEventListener("submit", recommend);
  }

  start().catch((error) => tell(error.message, true));
})();
