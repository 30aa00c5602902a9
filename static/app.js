/* Scripts beside htmx: dialogs, copy buttons, live text previews, tabs, and the streamed reply of the query page.
   Every page also works without them: each button is a submit button or a link. */
(() => {
  "use strict";

  const on = (type, selector, act) =>
    document.addEventListener(type, (event) => {
      const found = event.target.closest?.(selector);
      if (found) act(event, found);
    });

  /* Dialogs. Without JavaScript the button that opens one submits its form or follows its link. */
  on("click", "[data-dialog]", (event, opener) => {
    const dialog = document.getElementById(opener.dataset.dialog);
    if (!dialog) return;
    event.preventDefault();
    opener.closest("details.menu")?.removeAttribute("open");
    dialog.close();
    prepare(dialog);
    dialog.showModal();
  });
  on("click", "[data-dialog-close]", (event, button) => {
    const dialog = button.closest("dialog");
    if (!dialog) return; // the form is also a page without a dialog
    event.preventDefault();
    dialog.close();
  });
  on("click", "[data-dialog-confirm]", (event, button) => button.closest("dialog").close());

  function prepare(dialog) {
    const confirm = dialog.querySelector("[data-dialog-confirm]");
    if (!confirm) return;
    const current = document.querySelector("#entity [name=provider]")?.dataset.choice;
    const radios = [...dialog.querySelectorAll(`[name=${confirm.dataset.dialogConfirm}]`)];
    radios.forEach((radio) => (radio.checked = radio.value === current));
    const follow = () => (confirm.disabled = !radios.some((radio) => radio.checked && radio.checkVisibility()));
    dialog.onchange = follow;
    follow();
  }

  /* Enter inside the entity dialog presses its confirm button instead of submitting the form around the dialog. */
  on("keydown", "#entity-dialog input", (event, input) => {
    if (event.key !== "Enter") return;
    event.preventDefault();
    const confirm = input.closest("dialog").querySelector("[data-dialog-confirm]");
    if (!confirm.disabled) confirm.click();
  });

  on("input", "[data-must-equal]", (event, input) => matchName(input));
  function matchName(input) {
    const button = input.form.querySelector(".button-danger");
    button.disabled = input.value.trim() !== input.dataset.mustEqual;
  }

  /* What is typed while a part of the form is drawn again is newer than the answer, so it stays. */
  let sent = new Map();
  let newer = [];
  const inputsIn = (part) => [...part.querySelectorAll("input:not([type=hidden], [type=radio]), textarea, select")];
  document.addEventListener("htmx:beforeRequest", ({ target }) => {
    const form = target.closest("#endpoint-form");
    if (form) sent = new Map(inputsIn(form).map((input) => [input.id, input.value]));
  });
  document.addEventListener("htmx:beforeSwap", ({ detail }) => {
    const isTyped = ({ id, value }) => sent.has(id) && sent.get(id) !== value;
    newer = detail.target.closest("#endpoint-form") ? inputsIn(detail.target).filter(isTyped) : [];
  });
  document.addEventListener("htmx:afterSwap", () => {
    newer.forEach(({ id, value }) => {
      const input = document.getElementById(id);
      if (input) input.value = value;
    });
    newer = [];
  });

  /* Menus close when the focus or a click goes elsewhere. */
  document.addEventListener("click", (event) => closeMenus(event.target));
  document.addEventListener("focusin", (event) => closeMenus(event.target));
  function closeMenus(target) {
    document.querySelectorAll("details.menu[open]").forEach((menu) => {
      if (!menu.contains(target)) menu.open = false;
    });
  }
  document.addEventListener("keydown", (event) => {
    const menu = event.key === "Escape" && document.querySelector("details.menu[open]");
    if (!menu) return;
    menu.open = false;
    menu.querySelector("summary").focus();
  });

  /* Arrows of a row of cards, which also scrolls by touch, wheel and arrow keys. */
  on("click", "[data-scroll]", (event, button) => {
    const row = document.getElementById(button.getAttribute("aria-controls"));
    row.scrollBy({ left: button.dataset.scroll * row.clientWidth * 0.8 });
  });

  /* Copy buttons; the live region #messages announces the copy. */
  on("click", "[data-copy], [data-copy-of]", async (event, button) => {
    const area = document.createElement("textarea");
    const text = button.dataset.copy ?? document.getElementById(button.dataset.copyOf).textContent;
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      area.value = text; // an address without https has no clipboard API
      area.className = "visually-hidden";
      button.after(area);
      area.select();
      document.execCommand("copy");
      area.remove();
      button.focus();
    }
    say(button.dataset.copied);
  });
  on("click", "[data-dismiss]", (event, button) => button.closest(".note").remove());
  function say(text, tone = "good") {
    const note = Object.assign(document.createElement("div"), { className: `note note-${tone}`, textContent: text });
    document.getElementById("messages").replaceChildren(note);
    if (tone === "good") setTimeout(() => note.remove(), 4000);
    return note;
  }

  /* A failed htmx request shows the text of the error page as a message, until a request succeeds. */
  let failure = null;
  const fail = ({ detail }) => {
    const text = sentences(detail.xhr.responseText);
    if (!failure?.isConnected || failure.textContent !== text) failure = say(text, "bad");
  };
  ["htmx:responseError", "htmx:sendError"].forEach((type) => document.addEventListener(type, fail));
  document.addEventListener("htmx:afterRequest", ({ detail }) => detail.successful && failure?.remove());
  function sentences(html) {
    const paragraphs = new DOMParser().parseFromString(html, "text/html").querySelectorAll("main p:not(:has(a))");
    return [...paragraphs].map((each) => each.textContent.trim()).join(" ") || document.getElementById("messages").dataset.unreachable;
  }

  /* Live previews of inputs: the URL and the summary of the form. */
  document.addEventListener("input", (event) => event.target.id && mirror(event.target));
  document.addEventListener("change", (event) => event.target.id && mirror(event.target));
  function mirror(input) {
    document.querySelectorAll(`[data-mirror="${CSS.escape(input.id)}"]`).forEach((copy) => {
      copy.textContent = input.value.trim() || copy.dataset.empty;
    });
  }

  /* A hidden page does not poll, and a submit button works once. */
  document.addEventListener("htmx:beforeRequest", (event) => {
    if (document.hidden && event.detail.elt.matches("[data-live]")) event.preventDefault();
  });
  document.addEventListener("submit", (event) => {
    if (event.defaultPrevented) return;
    const button = event.target.querySelector("[data-once]");
    if (button) setTimeout(() => (button.disabled = true));
  });
  window.addEventListener("pageshow", () => {
    document.querySelectorAll("[data-once]").forEach((button) => (button.disabled = false));
  });

  /* Tabs of code samples, with arrow keys as in the ARIA tabs pattern. */
  function tabs(box) {
    const list = [...box.querySelectorAll("[role=tab]")];
    const choose = (tab) =>
      list.forEach((each) => {
        each.setAttribute("aria-selected", String(each === tab));
        each.tabIndex = each === tab ? 0 : -1;
        const panel = document.getElementById(each.getAttribute("aria-controls"));
        panel.setAttribute("role", "tabpanel");
        panel.setAttribute("aria-labelledby", each.id);
        panel.hidden = each !== tab;
      });
    list.forEach((tab, at) => {
      tab.onclick = () => choose(tab);
      tab.onkeydown = (event) => {
        const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
        if (!step) return;
        const next = list[(at + step + list.length) % list.length];
        choose(next);
        next.focus();
      };
    });
    choose(list[0]);
  }
  document.querySelectorAll("[data-tabs]").forEach(tabs);

  /* The query page: streams the reply into the page. */
  const form = document.querySelector("[data-query]");
  if (form) query(form);

  function query(form) {
    const request = form.elements.request;
    const [send, stop] = [document.getElementById("send"), document.getElementById("stop-reply")];
    const [reply, raw, rawBox] = ["reply", "raw", "raw-reply"].map((id) => document.getElementById(id));
    const meta = document.getElementById("reply-meta");
    let running = null;

    form.querySelector("[data-reset]").onclick = () => (request.value = request.dataset.example);
    stop.onclick = () => running?.abort();
    request.onkeydown = (event) => {
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) form.requestSubmit();
    };
    form.onsubmit = async (event) => {
      event.preventDefault();
      if (running) return;
      running = new AbortController();
      const began = performance.now();
      const seconds = () => {
        const taken = performance.now() - began;
        return taken < 1000 ? `${Math.round(taken)} ms` : `${(taken / 1000).toFixed(1)} s`;
      };
      [reply.textContent, raw.textContent, rawBox.hidden] = ["", "", true];
      [send.disabled, stop.hidden] = [true, false];
      show("busy", meta.dataset.busy, "");
      try {
        const options = { method: "POST", body: new FormData(form), headers: { "X-Reply": "stream" }, signal: running.signal };
        const answer = await fetch(form.action, options);
        const tone = answer.ok ? "good" : "bad";
        const status = `${answer.status} ${answer.statusText}`.trim();
        const streams = answer.headers.get("content-type")?.startsWith("text/event-stream");
        await read(answer, streams, () => show(tone, status, seconds()));
        show(tone, status, seconds());
      } catch (error) {
        if (error.name === "AbortError") show("still", "–", seconds());
        else show("bad", meta.dataset.failed, seconds());
      } finally {
        [send.disabled, stop.hidden, running] = [false, true, null];
      }
    };

    function show(tone, words, time) {
      const state = document.createElement("span");
      state.className = `state state-${tone}`;
      state.textContent = words;
      const muted = document.createElement("span");
      muted.className = "muted";
      muted.textContent = time;
      meta.replaceChildren(state, muted);
    }

    async function read(answer, streams, tick) {
      const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
      let whole = "";
      let rest = "";
      for (let { done, value } = await reader.read(); !done; { done, value } = await reader.read()) {
        whole += value;
        tick();
        if (!streams) continue;
        const lines = (rest + value).split("\n");
        rest = lines.pop();
        reply.append(lines.map(words).join(""));
        raw.textContent = whole;
        rawBox.hidden = false;
      }
      if (!streams) reply.textContent = /^\s*<!doctype/i.test(whole) ? sentences(whole) : laidOut(whole);
    }
  }

  function words(line) {
    if (!line.startsWith("data:") || line.includes("[DONE]")) return "";
    try {
      const event = JSON.parse(line.slice(5));
      if (!event.choices) return JSON.stringify(event, null, 2);
      return event.choices.map((choice) => choice.delta?.content ?? choice.text ?? "").join("");
    } catch {
      return "";
    }
  }

  function laidOut(text) {
    try {
      return JSON.stringify(JSON.parse(text), null, 2);
    } catch {
      return text;
    }
  }

  document.querySelectorAll("dialog [data-must-equal]").forEach(matchName);
  document.querySelector("[data-focus]")?.focus();
})();
